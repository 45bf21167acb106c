"""What Prometheus and Grafana are given: scrapes, rules, and dashboards written as code."""
