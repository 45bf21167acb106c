"""`python -m deploy`: run the whole stack on this machine."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from argo.errors import ArgoError, InvalidArgumentError
from argo.settings import load
from deploy import certificates
from deploy.ask import Question
from deploy.launcher import Launcher
from deploy.plan import StackPlan
from deploy.settings import DeploySettings
from deploy.terminal import Terminal

_EXIT_FAILED = 1
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy", description="Run ARGO's services on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    docs = argparse.ArgumentParser(add_help=False)
    docs.add_argument("--docs", type=_path, help="documents folder (default: the bundled O-RAN primer)")
    replicas = argparse.ArgumentParser(add_help=False)
    replicas.add_argument(
        "--replicas",
        help='several of a service, such as "decomposer=2,retriever=2,synthesizer=2,orchestrator=2" (default: 1)',
    )
    commands.add_parser("up", parents=[docs, replicas], help="start the stack, index the documents, keep it running")
    ask = commands.add_parser("ask", parents=[docs], help="ask one question, of a stack started for it if need be")
    ask.add_argument("question", help="the question")
    ask.add_argument("--options", help='multiple choice: "first|second|third"')
    ask.add_argument("--budget-ms", help="soft time budget in milliseconds; 0 for none")
    ask.add_argument("--strategy", help="mdp, fixed, always_reason, always_retrieve, random or single_shot")
    ask.add_argument("--json", action="store_true", help="print events as JSON lines")
    env = commands.add_parser("env", parents=[docs, replicas], help="print the environment that each service is given")
    env.add_argument("--json", action="store_true", help="as one JSON object")
    certificates = commands.add_parser(
        "certificates", help="make an authority and a certificate for each service, or renew the certificates"
    )
    certificates.add_argument("--out", type=_path, required=True, help="folder; its authority is kept when it is there")
    certificates.add_argument("--host", action="append", help="name or address of a service; may be repeated")
    certificates.add_argument("--days", type=int, default=90, help="validity of the certificates (default: 90)")
    return parser


def _path(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return Path(text)


def _environment(plan: StackPlan, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({service.name: dict(service.environment) for service in plan.services}, indent=2) + "\n"
    blocks = []
    for service in plan.services:
        command = " ".join(service.program) or f"python -m {service.module}"
        lines = [f"# {service.name}: {command}"]
        lines += [f"{name}={value}" for name, value in service.environment.items()]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    options = _parser().parse_args(arguments)
    terminal = Terminal()
    try:
        if options.command == "certificates":
            return certificates.write(options.out, options.host or (), options.days, terminal)
        settings = load(DeploySettings)
        if getattr(options, "replicas", None) is not None:
            settings = settings.model_copy(update={"replicas": options.replicas})
        launcher = Launcher(settings, os.environ, terminal)
        if options.command == "up":
            return launcher.up(options.docs)
        if options.command == "env":
            sys.stdout.write(_environment(launcher.environment(options.docs), as_json=options.json))
            return 0
        question = Question(options.question, options.options, options.budget_ms, options.strategy, options.json)
        return launcher.ask(options.docs, lambda: question.load(os.environ))
    except InvalidArgumentError as error:
        terminal.line(f"error: {error}")
        return _EXIT_USAGE
    except ArgoError as error:
        terminal.line(f"error: {error}")
        return _EXIT_FAILED
    except KeyboardInterrupt:
        terminal.line("interrupted")
        return _EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
