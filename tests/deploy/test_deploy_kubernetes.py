"""The manifests, rendered by kustomize: valid by Kubernetes' own schemas, and held to the code."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from functools import cache
from importlib.metadata import version
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_project import FOLDER, SETTINGS

from argo import __version__, metric
from argo.settings import load
from deploy.images import read_stages

pytestmark = pytest.mark.deploy

_FOLDER = FOLDER / "kubernetes"
_OVERLAYS = sorted(path.name for path in (_FOLDER / "overlays").iterdir())
_STAGES = read_stages((FOLDER / "Dockerfile").read_text())
_OLDEST, _NEWEST = "1.29", "1.35"
_SERVICES = {"orchestrator": 50051, "decomposer": 50052, "retriever": 50053, "synthesizer": 50054}
_WORKLOADS = {"Deployment", "StatefulSet", "Job"}

every_overlay = pytest.mark.parametrize("overlay", _OVERLAYS)


@cache
def _rendered(overlay: str) -> list[dict[str, Any]]:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is not on the path; `make test-deploy` brings it"
    done = subprocess.run(
        [kubectl, "kustomize", _FOLDER / "overlays" / overlay], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def _of(overlay: str, *kinds: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in _rendered(overlay) if each["kind"] in kinds}


def _pod(workload: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def _containers(overlay: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (_pod(workload), container)
        for workload in _of(overlay, *_WORKLOADS).values()
        for container in [*_pod(workload).get("initContainers", []), *_pod(workload)["containers"]]
    ]


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}


def _service_container(overlay: str, name: str) -> dict[str, Any]:
    container: dict[str, Any] = _pod(_of(overlay, "Deployment", "StatefulSet")[name])["containers"][0]
    return container


# --- the schema ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overlay", "release"),
    # The last holds all that the others do.
    [*((overlay, _NEWEST) for overlay in _OVERLAYS), ("gpu-replicas", _OLDEST)],
)
def test_every_manifest_is_valid_by_the_schema_of_its_kind(overlay: str, release: str) -> None:
    manifests = _rendered(overlay)
    assert len(manifests) >= 14
    for manifest in manifests:
        kubernetes_validate.validate(manifest, release, strict=True)


def test_the_schema_would_find_a_misspelt_field() -> None:
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "lables": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="lables"):
        kubernetes_validate.validate(manifest, _NEWEST, strict=True)


def test_every_overlay_that_was_asked_for_is_there() -> None:
    assert {"cpu", "gpu", "replicas"} <= set(_OVERLAYS)


@every_overlay
def test_everything_is_in_the_one_namespace(overlay: str) -> None:
    assert {each["metadata"].get("namespace", "argo") for each in _rendered(overlay)} == {"argo"}
    assert "argo" in _of(overlay, "Namespace")


# --- processes -------------------------------------------------------------------------------------------------------


@every_overlay
def test_every_image_is_pinned_and_ours_are_targets_that_hold_what_runs(overlay: str) -> None:
    for _, container in _containers(overlay):
        repository, _, tag = container["image"].rpartition(":")
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", tag), container["image"]
        if repository.startswith("argo-oran/"):
            assert tag == __version__
            module = container["args"][0]
            assert module.partition(".")[0] in _STAGES[repository.partition("/")[2]].packages
            assert importlib.util.find_spec(f"{module}.__main__") is not None


@every_overlay
def test_every_setting_is_one_of_its_service_and_within_its_bounds(overlay: str) -> None:
    for name in _SERVICES:
        container = _service_container(overlay, name)
        settings = SETTINGS[container["args"][0]]
        own = {key: value for key, value in _environment(container).items() if key.startswith("ARGO_")}
        assert all(key.startswith(str(settings.model_config["env_prefix"])) for key in own)
        with pytest.MonkeyPatch.context() as patch:
            for key, value in own.items():
                patch.setenv(key, value)
            load(settings)


@every_overlay
def test_a_variable_is_defined_before_the_one_that_it_is_part_of(overlay: str) -> None:
    # Kubernetes fills $(NAME) in from what stands above it, and leaves it as it is otherwise.
    for _, container in _containers(overlay):
        seen: set[str] = set()
        for each in container.get("env", []):
            assert set(re.findall(r"\$\((\w+)\)", each.get("value", ""))) <= seen, each
            seen.add(each["name"])
        assert set(re.findall(r"\$\((\w+)\)", " ".join(container.get("args", [])))) <= seen


@every_overlay
def test_probes_ports_and_services_are_where_the_service_listens(overlay: str) -> None:
    for name, port in _SERVICES.items():
        container = _service_container(overlay, name)
        prefix = f"ARGO_{name.upper()}_"
        environment = _environment(container)
        assert environment[f"{prefix}PORT"] == str(port)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["grpc"]["port"] == port
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        assert ports == {"grpc": port, "metrics": int(environment[f"{prefix}METRICS_PORT"])}
        service = _of(overlay, "Service")[name]
        assert {each["name"]: each["port"] for each in service["spec"]["ports"]} == ports


@every_overlay
def test_every_target_is_a_headless_service_at_its_port(overlay: str) -> None:
    services = _of(overlay, "Service")
    targets = {
        value
        for name in _SERVICES
        for key, value in _environment(_service_container(overlay, name)).items()
        if key.endswith("_TARGET")
    }
    scheme = "dns:///" if "replicas" in overlay else ""
    assert targets == {f"{scheme}{name}:{port}" for name, port in _SERVICES.items() if name != "orchestrator"}
    for target in targets:
        name, _, port = target.removeprefix("dns:///").partition(":")
        assert services[name]["spec"]["clusterIP"] == "None"
        assert int(port) in {each["port"] for each in services[name]["spec"]["ports"]}


@every_overlay
def test_shared_state_is_at_a_service_that_is_there(overlay: str) -> None:
    services = _of(overlay, "Service")
    shared = {
        "ARGO_ORCHESTRATOR_SESSION_URL": _environment(_service_container(overlay, "orchestrator")),
        "ARGO_RETRIEVER_CHROMA_URL": _environment(_service_container(overlay, "retriever")),
    }
    urls = [environment[key] for key, environment in shared.items() if key in environment]
    assert len(urls) == (2 if "replicas" in overlay else 0)
    for url in urls:
        host, port = re.fullmatch(r"\w+://(\w+):(\d+)(?:/\d)?", url).groups()  # type: ignore[union-attr]
        assert int(port) in {each["port"] for each in services[host]["spec"]["ports"]}


def test_the_chroma_server_is_of_the_version_of_the_client() -> None:
    server = _pod(_of("replicas", "StatefulSet")["chroma"])["containers"][0]["image"]
    assert server == f"chromadb/chroma:{version('chromadb')}"


@every_overlay
def test_what_keeps_state_in_its_pod_has_one_pod_and_a_claim(overlay: str) -> None:
    for name in ("orchestrator", "retriever"):
        spec = _of(overlay, "StatefulSet")[name]["spec"]
        if "replicas" in overlay:
            assert spec["replicas"] == 2
            assert "volumeClaimTemplates" not in spec
        else:
            assert spec["replicas"] == 1
            assert [each["metadata"]["name"] for each in spec["volumeClaimTemplates"]] == ["state"]


# --- how they run ----------------------------------------------------------------------------------------------------


@every_overlay
def test_every_pod_passes_the_restricted_standard(overlay: str) -> None:
    for pod, container in _containers(overlay):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        if container["image"].startswith("argo-oran/"):
            assert security["readOnlyRootFilesystem"] is True


@every_overlay
def test_every_container_asks_for_memory_and_has_a_limit(overlay: str) -> None:
    for _, container in _containers(overlay):
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]


@every_overlay
def test_every_mount_has_its_volume_and_every_claim_is_made(overlay: str) -> None:
    claims = _of(overlay, "PersistentVolumeClaim")
    for workload in _of(overlay, *_WORKLOADS).values():
        pod = _pod(workload)
        volumes = {each["name"]: each for each in pod.get("volumes", [])}
        templates = {each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", [])}
        mounted = {
            each["name"]
            for container in [*pod.get("initContainers", []), *pod["containers"]]
            for each in container["volumeMounts"]
        }
        assert mounted == set(volumes) | templates, workload["metadata"]["name"]
        used = {
            each["persistentVolumeClaim"]["claimName"] for each in volumes.values() if "persistentVolumeClaim" in each
        }
        assert used <= set(claims)


@every_overlay
def test_every_selector_finds_the_pods_of_its_workload(overlay: str) -> None:
    workloads = _of(overlay, "Deployment", "StatefulSet")
    labels = {name: each["spec"]["template"]["metadata"]["labels"] for name, each in workloads.items()}
    for name, workload in workloads.items():
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
    for name, service in _of(overlay, "Service").items():
        assert service["spec"]["selector"].items() <= labels[name].items()
    budgets = _of(overlay, "PodDisruptionBudget")
    assert set(budgets) == set(workloads)
    for name, budget in budgets.items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels[name].items()
        # With maxUnavailable, a drain goes on also where there is one pod only.
        assert budget["spec"]["maxUnavailable"] == 1


@every_overlay
def test_pods_of_one_service_keep_apart(overlay: str) -> None:
    for name in _SERVICES:
        pod = _pod(_of(overlay, "Deployment", "StatefulSet")[name])
        term = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0][
            "podAffinityTerm"
        ]
        assert term["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": name}


@pytest.mark.parametrize("overlay", [each for each in _OVERLAYS if "gpu" in each])
def test_an_engine_on_gpus_is_told_of_as_many_as_its_pod_is_given(overlay: str) -> None:
    for name in ("decomposer", "synthesizer"):
        container = _service_container(overlay, name)
        environment = _environment(container)
        prefix = f"ARGO_{name.upper()}_"
        assert environment[f"{prefix}ENGINE"] == "vllm"
        gpus = environment[f"{prefix}GPUS"].split(",")
        assert gpus == [str(index) for index in range(int(container["resources"]["limits"]["nvidia.com/gpu"]))]
        mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
        assert mounts["/models"]["readOnly"] is True
        assert "/dev/shm" in mounts
        assert environment[f"{prefix}MODEL"].startswith("/models/")


@pytest.mark.parametrize("overlay", [each for each in _OVERLAYS if "gpu" in each])
def test_the_models_that_engines_load_are_those_that_are_fetched(overlay: str) -> None:
    job = _pod(_of(overlay, "Job")["fetch-models"])
    fetched = {
        container["name"]: container["env"][0]["valueFrom"]["configMapKeyRef"]
        for container in [*job["initContainers"], *job["containers"]]
    }
    for name, source in fetched.items():
        loaded = next(each for each in _service_container(overlay, name)["env"] if each["name"] == "MODEL")
        assert loaded["valueFrom"]["configMapKeyRef"] == source
        assert source["name"] in _of(overlay, "ConfigMap")


def test_autoscaling_goes_by_the_queue_that_the_engines_export() -> None:
    scalers = _of("gpu-replicas", "HorizontalPodAutoscaler")
    assert set(scalers) == {"decomposer", "synthesizer"}
    for name, scaler in scalers.items():
        workload = _of("gpu-replicas", "Deployment")[name]
        assert scaler["spec"]["scaleTargetRef"]["name"] == name
        # A number in the workload would undo the autoscaler's at every apply.
        assert "replicas" not in workload["spec"]
        [measured] = scaler["spec"]["metrics"]
        assert measured["pods"]["metric"]["name"] == metric.ENGINE_WAITING.name


def test_every_kustomization_is_used() -> None:
    files = sorted(_FOLDER.rglob("kustomization.yaml"))
    named = {
        (path.parent / other).resolve()
        for path in files
        for other in [*(yaml.safe_load(path.read_text()).get(key, []) for key in ("resources", "components"))]
        for other in other
    }
    assert [path for path in files if path.parent.parent.name != "overlays" and path.parent not in named] == []
