"""Checks deploy/: against the schemas of Kubernetes and Compose, and what those
do not say: rights, versions, and names that have to agree. scripts/check-deploy.sh
runs it with the packages that it needs."""

import copy
import importlib.resources
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
# The first in which every field used is stable, and the newest that is known.
KUBERNETES = ["1.31", kubernetes_validate.latest_version()]
# The images' user.
USER = 65532

wrong = []


def check(holds, what):
    if not holds:
        wrong.append(what)


def refuses(validate, document):
    """Whether a schema refuses a document: one that accepts all is none."""
    try:
        validate(document)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError):
        return True
    return False


def own_version():
    return re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]


def own_image(image, where):
    """Images of ours have the workspace's version."""
    name, _, version = image.rpartition(":")
    if "alambic-" in name:
        check(version == own_version(), f"{where}: {image}, but the version is {own_version()}")
    else:
        check(re.search(r"\d", version), f"{where}: {image} has no version")


def configuration(program, text, where):
    """A configuration goes through the program that reads it, where it is built."""
    binary = ROOT / "target/release" / program
    if not binary.exists():
        print(f"check-deploy: SKIPPED the configuration in {where}: {program} is not built")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        said = subprocess.run(
            [binary, "config", "check", "--config", file.name], capture_output=True, text=True
        )
    check(said.returncode == 0, f"{where}: {said.stderr.strip()}")


# Compose

def compose():
    vendored = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(vendored.read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    base = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for path in sorted(DEPLOY.glob("compose*.yaml")):
        document = yaml.safe_load(path.read_text())
        for error in validator.iter_errors(document):
            wrong.append(f"{path.name}: {error.json_path}: {error.message}")
        planted = copy.deepcopy(document)
        planted["services"]["coordinator"]["read_onyl"] = True
        check(refuses(validator.validate, planted), "the schema of Compose refuses nothing")
        services(path.name, document if document == base else laid_over(base, document))
    asked(base)


def laid_over(base, document):
    """What Compose makes of two files, as far as it is looked at here."""
    merged = copy.deepcopy(base)
    for part in ("services", "networks", "volumes"):
        for name, value in document.get(part, {}).items():
            known = merged[part].get(name)
            if known is None:
                merged[part][name] = value
                continue
            for key, more in value.items():
                if isinstance(more, list):
                    known[key] = known.get(key, []) + more
                elif isinstance(more, dict):
                    known[key] = {**known.get(key, {}), **more}
                else:
                    known[key] = more
    return merged


def services(file, document):
    for name, service in document["services"].items():
        where = f"{file}: {name}"
        check(service.get("read_only") is True, f"{where}: the root can be written")
        check(service.get("cap_drop") == ["ALL"], f"{where}: capabilities are kept")
        check("no-new-privileges:true" in service.get("security_opt", []), f"{where}: rights can be gained")
        check("mem_limit" in service or name == "init", f"{where}: memory has no limit")
        own_image(service["image"], where)
        for mount in service["volumes"]:
            source, target = mount_of(mount)
            if source.startswith("."):
                check((DEPLOY / source).exists() or source == "./data", f"{where}: there is no {source}")
                check(mount.endswith(":ro"), f"{where}: {target} can be written")
            else:
                check(source in document["volumes"], f"{where}: no volume {source}")
        for network in service.get("networks", []):
            check(network in document["networks"], f"{where}: no network {network}")
        for port in service.get("ports", []):
            is_fleet = port == "4433:4433/udp"
            check(is_fleet or port.startswith("127.0.0.1:"), f"{where}: {port} is open to the network")
        for other in service.get("depends_on", []):
            check(other in document["services"], f"{where}: no service {other}")


def asked(document):
    """Prometheus asks for services of the composition, by names that they answer to."""
    hosts = re.search(r"^hosts = (.*)$", (DEPLOY / "coordinator.toml").read_text(), re.M)[1]
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    for target in scraped["static_configs"][0]["targets"]:
        name = target.rpartition(":")[0]
        check(name in document["services"], f"prometheus.yml asks {target}, which is no service")
        check(name in json.loads(hosts), f"coordinator.toml does not let {name} be asked by that name")
    configuration("alambic-coordinator", (DEPLOY / "coordinator.toml").read_text(), "coordinator.toml")
    promtool()


def mount_of(mount):
    """Source and target, with the default of a variable in its place."""
    mount = re.sub(r"\$\{[^:}]*:-([^}]*)\}", r"\1", mount)
    source, target = mount.split(":")[:2]
    return source, target


def promtool():
    if not shutil.which("promtool"):
        print("check-deploy: SKIPPED prometheus.yml: promtool is not installed")
        return
    # Without the rules, which lie elsewhere here and have a test of their own.
    document = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    document.pop("rule_files")
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump(document, file)
        file.flush()
        said = subprocess.run(["promtool", "check", "config", file.name], capture_output=True, text=True)
    check(said.returncode == 0, f"prometheus.yml: {said.stdout}{said.stderr}")


# Kubernetes

def kubernetes():
    documents = []
    for path in sorted((DEPLOY / "kubernetes").iterdir()):
        check(path.suffix == ".yaml", f"{path.name} is no manifest")
        for document in yaml.safe_load_all(path.read_text()):
            documents.append((path.name, document))
    for file, document in documents:
        name = f"{file}: {document['kind']} {document['metadata']['name']}"
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                at = ".".join(str(part) for part in error.path)
                wrong.append(f"{name}, Kubernetes {version}: {at}: {error.message}")
        if document["kind"] != "Namespace":
            check(document["metadata"].get("namespace") == "alambic", f"{name} is in no namespace of ours")
    for version in KUBERNETES:
        planted = copy.deepcopy(one(documents, "StatefulSet", "alambic-coordinator"))
        planted["spec"]["template"]["spec"]["containers"][0]["prots"] = []
        strictly = lambda it: kubernetes_validate.validate(it, version, strict=True)
        check(refuses(strictly, planted), f"the schemas of Kubernetes {version} refuse nothing")
    for file, document in documents:
        if document["kind"] == "StatefulSet":
            workload(file, document, documents)


def one(documents, kind, name):
    found = [it for _, it in documents if it["kind"] == kind and it["metadata"]["name"] == name]
    return found[0] if found else None


def workload(file, document, documents):
    name = document["metadata"]["name"]
    where = f"{file}: {name}"
    template = document["spec"]["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    check(document["spec"]["selector"]["matchLabels"] == labels, f"{where}: selects other pods than its own")
    check(one(documents, "Service", document["spec"]["serviceName"]), f"{where}: no service of that name")
    check(pod["automountServiceAccountToken"] is False, f"{where}: has a token of the cluster")
    confined = pod["securityContext"]
    check(confined["runAsNonRoot"] is True and confined["runAsUser"] == USER, f"{where}: runs as another user")
    check(confined["seccompProfile"]["type"] == "RuntimeDefault", f"{where}: any system call is allowed")
    claims = {it["metadata"]["name"] for it in document["spec"]["volumeClaimTemplates"]}
    volumes = claims | {it["name"] for it in pod["volumes"]}
    ports = {}
    for container in pod.get("initContainers", []) + pod["containers"]:
        at = f"{where}: {container['name']}"
        own_image(container["image"], at)
        confined = container["securityContext"]
        check(confined["readOnlyRootFilesystem"] is True, f"{at}: the root can be written")
        check(confined["allowPrivilegeEscalation"] is False, f"{at}: rights can be gained")
        check(confined["capabilities"]["drop"] == ["ALL"], f"{at}: capabilities are kept")
        check("memory" in container["resources"]["limits"], f"{at}: memory has no limit")
        for variable in container["env"]:
            secret = variable.get("valueFrom", {}).get("secretKeyRef", {"optional": True})
            check(secret.get("optional"), f"{at}: starts only with a Secret that nobody makes")
        mounts = {it["mountPath"]: it["name"] for it in container["volumeMounts"]}
        check(set(mounts.values()) <= volumes, f"{at}: mounts what is not there")
        environment = {it["name"]: it.get("value") for it in container["env"]}
        state = pathlib.PurePath(environment["ALAMBIC_STATE"])
        check(mounts.get(str(state.parent)) == "state", f"{at}: {state} is in no volume")
        for port in container.get("ports", []):
            ports[port["name"]] = port.get("protocol", "TCP")
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe in container:
                check(container[probe]["httpGet"]["port"] in ports, f"{at}: {probe} asks no port of its own")
    for volume in pod["volumes"]:
        if "configMap" in volume:
            found = one(documents, "ConfigMap", volume["configMap"]["name"])
            check(found, f"{where}: no ConfigMap {volume['configMap']['name']}")
            for text in found["data"].values():
                configuration("alambic-coordinator", text, f"{file}: ConfigMap")
        if "secret" in volume:
            check(volume["secret"]["optional"] is True, f"{where}: starts only with a Secret that nobody makes")
    facing(where, labels, ports, documents)


def facing(where, labels, ports, documents):
    """What points at a workload's pods, and at their ports by name."""
    for file, document in documents:
        spec, name = document.get("spec", {}), document["metadata"]["name"]
        if document["kind"] == "Service" and spec["selector"] == labels:
            for port in spec.get("ports", []):
                protocol = ports.get(port["targetPort"])
                check(protocol == port["protocol"], f"{file}: Service {name}: no such port of {where}")
        if document["kind"] == "PodDisruptionBudget":
            check(selects_some(spec["selector"], documents), f"{file}: {name} protects no pods")
    policies = [it for _, it in documents if it["kind"] == "NetworkPolicy"]
    policies = [it for it in policies if it["spec"]["podSelector"]["matchLabels"] == labels]
    check(len(policies) == 1, f"{where}: {len(policies)} network policies")
    for policy in policies:
        check(policy["spec"]["policyTypes"] == ["Ingress", "Egress"], f"{where}: one direction is open")
        for rule in policy["spec"]["ingress"]:
            for port in rule["ports"]:
                check(ports.get(port["port"]) == port["protocol"], f"{where}: lets in what nobody hears")


def selects_some(selector, documents):
    return any(
        it["kind"] == "StatefulSet" and it["spec"]["template"]["metadata"]["labels"] == selector["matchLabels"]
        for _, it in documents
    )


compose()
kubernetes()
for what in wrong:
    print(f"check-deploy: {what}", file=sys.stderr)
if wrong:
    sys.exit(1)
print(f"check-deploy: deploy/ fits the schemas of Compose and of Kubernetes {' and '.join(KUBERNETES)}")
