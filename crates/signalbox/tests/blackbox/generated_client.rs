//! The API's description as programs use it: it passes a validator, and a client that a generator makes of it works against
//! the server.

use std::path::Path;
use std::process::Command;

use crate::artcafe::seed_agent::python;
use crate::support::{Agent, Database, KEY, Server, on_each_database};

on_each_database![the_description_is_valid, a_generated_client_works];

const VALIDATE: &str = "
import json, sys
from openapi_spec_validator import OpenAPIV31SpecValidator

description = json.load(open(sys.argv[1]))
assert description['openapi'].startswith('3.1'), description['openapi']
faults = [str(fault) for fault in OpenAPIV31SpecValidator(description).iter_errors()]
assert not faults, faults
";

/// What a program does with the client that was made for it.
const USE: &str = "
import sys, time

url, key, endpoint = sys.argv[1:]
from made import AuthenticatedClient
from made.api.agents import get_agent, list_agents, register_agent
from made.api.api_keys import create_key, list_keys, revoke_key
from made.api.process import health
from made.api.sessions import get_session
from made.api.workflows import apply_workflow, trigger_workflow
from made.models import CapabilityDetails, KeyBody, KeyScope, Problem, RegisterBody, StartBody, WorkflowBody

client = AuthenticatedClient(base_url=url, token=key)
assert health.sync_detailed(client=client).status_code == 200

body = RegisterBody(agent_name='made', version='1', contact_endpoint=endpoint,
    capabilities=['read', CapabilityDetails(name='write', description='Writes.')])
registered = register_agent.sync(client=client, body=body)
agent = get_agent.sync(registered.data.agent_id, client=client).data
assert len(agent.capabilities) == 2, agent
again = register_agent.sync_detailed(client=client, body=body)
assert again.status_code == 409 and isinstance(again.parsed, Problem), again
assert again.parsed.type_.endswith('/name-taken') and again.parsed.status == 409, again.parsed
assert register_agent.sync_detailed(client=client, body=body, replace=True).status_code == 200
assert [one.agent_name for one in list_agents.sync(client=client).data] == ['made']
missing = get_agent.sync(agent_id='nobody', client=client)
assert isinstance(missing, Problem) and missing.status == 404, missing

definition = {'id': 'made', 'name': 'Made', 'owner': 'me',
    'tasks': [{'taskId': 'say', 'tool': 'echo', 'parameters': {'text': '${input.text}'}}]}
strict = apply_workflow.sync(client=client, body=WorkflowBody.from_dict(definition), strict=True)
assert isinstance(strict, Problem) and strict.errors[0].pointer == '/owner', strict
kept = apply_workflow.sync(client=client, body=WorkflowBody.from_dict(definition))
assert kept.revision == 1 and kept.warnings[0].pointer == '/owner', kept
started = trigger_workflow.sync('made', client=client, body=StartBody.from_dict({'initialPayload': {'text': 'hello'}}))
deadline = time.monotonic() + 60
while (session := get_session.sync(started.session_id, client=client)).status.value not in ('completed', 'failed'):
    assert time.monotonic() < deadline, session
    time.sleep(0.05)
assert session.status.value == 'completed', session

made = create_key.sync(client=client, body=KeyBody(name='made', scope=KeyScope.READ))
assert any(one.key_id == made.key_id for one in list_keys.sync(client=client).data)
revoke_key.sync(made.key_id, client=client)
print('done')
";

/// The description of a server, in a file.
fn described(server: &Server, folder: &Path) -> std::path::PathBuf {
    let path = folder.join("openapi.json");
    std::fs::write(&path, server.without_key().get("/openapi.json").text()).expect("written");
    path
}

/// Runs Python in a folder, and answers what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let done = command.output().expect("Python runs");
    let (printed, told) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{printed}{told}");
    format!("{printed}{told}")
}

fn the_description_is_valid(database: &Database) {
    let Some(python) = python() else { return };
    let server = Server::start(database);
    let folder = tempfile::tempdir().expect("a folder");
    let path = described(&server, folder.path());
    run(Command::new(python).args(["-c", VALIDATE]).arg(path));
}

fn a_generated_client_works(database: &Database) {
    let Some(python) = python() else { return };
    let server = Server::start(database);
    let endpoint = Agent::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = described(&server, folder.path());
    let made = folder.path().join("made");
    let mut generate = Command::new(&python);
    generate.args(["-m", "openapi_python_client", "generate", "--meta", "none", "--path"]).arg(path);
    let told = run(generate.arg("--output-path").arg(&made).current_dir(folder.path()));
    // A body in YAML is nothing that it makes functions for; everything else it must understand.
    let warnings: Vec<&str> =
        told.lines().filter(|line| line.starts_with("WARNING") || line.contains("Unable")).collect();
    assert_eq!(warnings, ["WARNING parsing POST /v1/opscore/workflows within workflows."], "{told}");
    let mut using = Command::new(&python);
    using.args(["-c", USE, &server.url(""), KEY, &endpoint.url()]);
    let told = run(using.current_dir(folder.path()).env("PYTHONPATH", folder.path()));
    assert!(told.contains("done"), "{told}");
}
