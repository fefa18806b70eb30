"""The Containerfile, compose and Kubernetes files, and the site for nginx, which is really run."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import check_jsonschema
import httpx
import jsonschema_rs
import kubernetes_validate
import pytest
import yaml

from rerankd import settings

from support.fakes import PATIENCE
from support.places import ROOT, files_in
from support.serving import server_of, service_of

DEPLOY = ROOT / "docs" / "deploy"
CONTAINERFILE = (ROOT / "Containerfile").read_text("utf-8")
KUBERNETES = {
    (one := yaml.safe_load(path.read_text("utf-8")))["kind"]: one
    for path in files_in(DEPLOY, "kubernetes/*.yaml")
}
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
VARIABLES = {one.variable for one in settings.table()}
USER = 10001


def stage(name: str) -> str:
    """Return a stage of the Containerfile."""
    found = re.search(
        rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", CONTAINERFILE, re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def container() -> dict[str, Any]:
    (only,) = KUBERNETES["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_image_runs_without_rights_and_ends_on_a_signal(target: str) -> None:
    """No root, no shell between the signal and the server, state and models in volumes."""
    text = stage(target)

    assert f"USER {USER}:{USER}" in text
    assert 'ENTRYPOINT ["rerankd"]\nCMD ["serve"]' in text
    assert 'VOLUME ["/var/lib/rerankd", "/var/cache/rerankd"]' in text
    assert "STOPSIGNAL SIGTERM" in text
    assert set(re.findall(r"RERANKD_[A-Z_]+", text)) <= VARIABLES
    assert f"COPY --from=build-{target} /opt/rerankd /opt/rerankd" in text


def test_both_images_are_alike_but_for_what_cuda_needs() -> None:
    """The two targets run the same, and both builds have portable kernels and the patch."""
    assert stage("cpu") == stage("cuda").replace("build-cuda", "build-cpu").rstrip("\n") + "\n"
    for name in ("build-cpu", "build-cuda"):
        assert "ENV RERANKD_CPU_VARIANTS=all " in stage(name)
        assert "app/rerankd/engine/patches/install.sh" in stage(name)
        assert "--require-hashes" in stage(name)


def test_the_images_build_on_every_architecture() -> None:
    """Nothing is written for one: portable.env chooses the kernels where the image is built."""
    for name in ("build-cpu", "build-cuda", "cpu", "cuda"):
        assert not re.search(r"x86|amd64|arm64|aarch64|haswell|armv\d", stage(name), re.IGNORECASE)


def test_health_check_of_the_image_tells_the_states_apart() -> None:
    """The image's own check passes on a ready server and fails on one that still loads."""
    found = re.search(r"HEALTHCHECK .* CMD (\[.*\])$", stage("cpu"), re.MULTILINE)
    assert found is not None
    words = json.loads(found[1])
    assert words[0] == "python"
    words[0] = shutil.which("python3") or "python3"

    def passes(port: int) -> bool:
        done = subprocess.run(words, env={"RERANKD_PORT": str(port)}, check=False, stderr=-3)
        return done.returncode == 0

    service = service_of()
    with server_of(service) as url:
        port = httpx.URL(url).port or 0
        assert passes(port)
        service.drain()
        assert not passes(port)
    assert not passes(port)


def test_what_the_image_copies_is_not_ignored() -> None:
    """The build context has all that is copied, and next to nothing else."""
    kept = set(re.findall(r"^!(\S+)", (ROOT / ".containerignore").read_text("utf-8"), re.MULTILINE))

    for line in re.findall(r"^COPY (?!--)(.+) \S+$", CONTAINERFILE, re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists()
            assert source.split("/")[0] in kept


def test_compose_file_follows_its_schema() -> None:
    """The Compose specification's own schema takes it, and its volumes are the image's."""
    text = resources.files(check_jsonschema) / "builtin_schemas" / "vendor" / "compose-spec.json"
    (service,) = COMPOSE["services"].values()

    jsonschema_rs.validate(json.loads(text.read_text("utf-8")), COMPOSE)
    assert {one.split(":")[1] for one in service["volumes"]} == _volumes()
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert re.search(rf" AS {service['build']['target']}$", CONTAINERFILE, re.MULTILINE)
    assert service["read_only"]


def _volumes() -> set[str]:
    found = re.search(r"^VOLUME (\[.*\])$", stage("cpu"), re.MULTILINE)
    assert found is not None
    return set(json.loads(found[1]))


@pytest.mark.parametrize("version", ["1.31", "1.34"])
@pytest.mark.parametrize("kind", sorted(KUBERNETES))
def test_manifests_follow_kubernetes_schemas(kind: str, version: str) -> None:
    """Each manifest is valid, with no field that an older or a newer Kubernetes doesn't know."""
    kubernetes_validate.validate(KUBERNETES[kind], version, strict=True)


def test_schemas_refuse_what_is_wrong() -> None:
    """The schemas are there and strict: an unknown field or a wrong type is refused."""
    for wrong in ({"replicas": "two"}, {"replica": 2}):
        spec = {**KUBERNETES["Deployment"]["spec"], **wrong}
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(
                {**KUBERNETES["Deployment"], "spec": spec}, "1.34", strict=True
            )


def test_all_kinds_of_manifest_are_there() -> None:
    """A Deployment, its Service, its models' claim and an autoscaler, one file each."""
    files = list((DEPLOY / "kubernetes").iterdir())

    kinds = {"Deployment", "Service", "PersistentVolumeClaim", "HorizontalPodAutoscaler"}
    assert set(KUBERNETES) == kinds
    assert len(files) == len(kinds)


def test_manifests_fit_each_other() -> None:
    """Labels, ports, claims, probes and settings name what is there."""
    deployment, spec = KUBERNETES["Deployment"], KUBERNETES["Deployment"]["spec"]["template"]
    volumes = {one["name"]: one for one in spec["spec"]["volumes"]}
    mounts = {one["mountPath"]: one["name"] for one in container()["volumeMounts"]}

    assert spec["metadata"]["labels"] == KUBERNETES["Service"]["spec"]["selector"]
    assert deployment["spec"]["selector"]["matchLabels"] == spec["metadata"]["labels"]
    assert (
        KUBERNETES["Service"]["spec"]["ports"][0]["targetPort"] == container()["ports"][0]["name"]
    )
    claim = volumes[mounts["/var/cache/rerankd"]]["persistentVolumeClaim"]["claimName"]
    assert claim == KUBERNETES["PersistentVolumeClaim"]["metadata"]["name"]
    assert _volumes() <= set(mounts)
    assert set(mounts.values()) == set(volumes)
    assert {one["name"] for one in container()["env"]} <= VARIABLES
    assert spec["spec"]["securityContext"]["runAsUser"] == USER
    assert container()["securityContext"]["readOnlyRootFilesystem"]
    drain = settings.Settings().drain_timeout
    assert spec["spec"]["terminationGracePeriodSeconds"] > drain + 5 + 5


def test_autoscaler_reads_a_metric_that_there_is() -> None:
    """The metric of the autoscaler is one that /metrics gives."""
    (metric,) = KUBERNETES["HorizontalPodAutoscaler"]["spec"]["metrics"]
    with server_of(service_of()) as url:
        text = httpx.get(url + "/metrics").text

    assert f"\n{metric['pods']['metric']['name']}{{" in text


def test_probes_are_answered_without_a_key() -> None:
    """Every probe's path answers where keys are asked for."""
    probes = {"startupProbe", "readinessProbe", "livenessProbe"}
    with server_of(service_of(api_keys=("secret",))) as url:
        assert httpx.get(url + "/v1/models").status_code == 401
        for name in probes:
            assert httpx.get(url + container()[name]["httpGet"]["path"]).status_code == 200


def test_migration_names_options_that_there_are() -> None:
    """What other servers' options become are options of `rerankd serve`."""
    flags = {one.flag for one in settings.table()}
    page = (ROOT / "docs" / "migrating.md").read_text("utf-8")
    rows = [line.split("|")[2] for line in page.splitlines() if line.startswith("| `")]
    named = re.findall(r"`(--[a-z-]+)", "".join(rows))
    named += re.findall(r"--[a-z-]+", "".join(re.findall(r"rerankd serve (.*)", page)))

    assert len(named) > 15
    assert set(named) <= flags | {"--reranking"}


@contextmanager
def proxy_of(url: str, folder: Path, prefix: str = "/") -> Iterator[str]:
    """Run nginx with the site of docs/deploy in front of a server; yield its address.

    Below a prefix, the site is as docs/nginx.md has it for that.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    site = (DEPLOY / "nginx.conf").read_text("utf-8")
    site = site.replace("listen 80;", f"listen 127.0.0.1:{port};")
    site = site.replace("127.0.0.1:8100", url.removeprefix("http://"))
    if prefix != "/":
        site = site.replace("location / {", f"location {prefix} {{")
        site = site.replace("proxy_pass http://rerankd;", "proxy_pass http://rerankd/;")
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{name}_temp_path {folder}/{name};\n" for name in names)
    # Where we are root, nginx gives up its rights and would be shut out of the test's folder.
    user = "user root;\n" if os.geteuid() == 0 else ""
    whole = (
        f"{user}daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"worker_processes 1;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{site}\n}}\n"
    )
    (folder / "nginx.conf").write_text(whole)
    command = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    process = subprocess.Popen(command)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            client.get(f"http://127.0.0.1:{port}{prefix}health", timeout=PATIENCE)
        yield f"http://127.0.0.1:{port}{prefix.rstrip('/')}"
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
def test_nginx_hands_on_ids_bodies_and_lines(tmp_path: Path) -> None:
    """Through nginx: ids of either side, bodies over its default limit, streams as they come."""
    body = {"query": "a", "documents": ["b c", "d"]}
    with server_of(service_of()) as url, proxy_of(url, tmp_path) as proxy:
        answer = httpx.post(proxy + "/v1/rerank", json=body, headers={"X-Request-Id": "mine-1"})
        assert (answer.status_code, answer.headers["x-request-id"]) == (200, "mine-1")
        assert len(httpx.get(proxy + "/health").headers["x-request-id"]) == 32

        large = {"query": "a", "documents": ["b " * 1_000_000]}
        assert httpx.post(proxy + "/v1/rerank", json=large, timeout=PATIENCE).status_code == 200

        accept = {"Accept": "application/x-ndjson"}
        with httpx.stream("POST", proxy + "/v1/rerank", json=body, headers=accept) as lines:
            assert len(list(lines.iter_lines())) == 3
        with httpx.stream("GET", proxy + "/v1/deployments/events", timeout=PATIENCE) as events:
            assert next(events.iter_lines())


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
def test_nginx_may_serve_it_below_a_prefix(tmp_path: Path) -> None:
    """Pages and what they load, slashes that are missing or too many, and ids with slashes."""
    service = service_of(start=False, model_id="a/b")
    with server_of(service) as url, proxy_of(url, tmp_path, "/tools/rerank/") as proxy:
        for path in ("", "/", "/docs", "/docs/"):
            page = httpx.get(proxy + path, follow_redirects=True)
            (link,) = set(re.findall(r'src="(static/[^"]+)"', page.text)) - {
                "static/console/early.js"
            }
            assert httpx.get(page.url.join(link)).status_code == 200, path
        for path in ("a%2Fb", "a/b"):
            assert httpx.get(f"{proxy}/v1/deployments/{path}").json()["id"] == "a/b"
