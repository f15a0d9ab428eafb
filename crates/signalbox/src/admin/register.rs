//! `signalbox agents register`: an agent is made known, with the SSH key that it signs in with where it has one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};
use signalbox_client::{ListQuery, Method};
use signalbox_wire::ssh::PublicKey;

use super::agent::AGENTS;
use super::context::{Context, Pages, body, text};
use super::input::{json, read};
use super::ssh_keys::SSH_KEYS;
use super::{failure, output};
use crate::printer;

/// The status of a registration that made the agent; one that took a name over has another.
const CREATED: u16 = 201;

/// An agent to register.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("reached").args(["endpoint", "connects", "ssh_key"]).required(true).multiple(true))]
pub(crate) struct Register {
    /// Its name, unique in the tenant
    name: String,
    /// The address that messages and tasks are POSTed to
    #[arg(long, value_name = "URL", conflicts_with = "connects")]
    endpoint: Option<String>,
    /// It connects to the server, and is reached over that
    #[arg(long)]
    connects: bool,
    /// The file with the public SSH key that it signs in with; it connects, unless an endpoint is given
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Something that it can do; may be given several times
    #[arg(long = "capability", value_name = "CAPABILITY")]
    capabilities: Vec<String>,
    /// Its id; one is made where absent
    #[arg(long)]
    id: Option<String>,
    /// Its own version
    #[arg(long = "version", value_name = "VERSION", default_value = "1")]
    its_version: String,
    /// How many tasks it may have at once; 1 where absent
    #[arg(long)]
    concurrency: Option<u32>,
    /// Anything else about it, as a JSON object
    #[arg(long, value_parser = json)]
    metadata: Option<Value>,
    /// Take over a name that is registered already, as a restarted agent does
    #[arg(long)]
    replace: bool,
}

impl Register {
    pub(crate) async fn run(&self, context: &Context) -> anyhow::Result<()> {
        // A key that cannot be read is told before anything is registered.
        let key = self.ssh_key.as_deref().map(public_key).transpose()?;
        let query = if self.replace { ListQuery::new().filter("replace", "true") } else { ListQuery::new() };
        let answer = context.send_for_status(Method::POST, AGENTS.path, &query, Some(&self.body()?)).await;
        let (status, answer) = answer.map_err(|error| self.refused(error))?;
        let answer = output::value(&answer)?;
        let id = answer["data"]["agentId"].as_str().context("the answer names no id")?;
        let mut told = json!({"agentId": id});
        if let Some(key) = &key {
            let added = self.add_key(context, (id, status == CREATED), key).await?;
            (told["sshKeyId"], told["fingerprint"]) = (added["key_id"].clone(), added["fingerprint"].clone());
        }
        printer::notice(&format!("agent {} is registered; {}", self.name, self.next_step(id, &told)));
        context.started(&serde_json::value::to_raw_value(&told)?, "/agentId")
    }

    fn body(&self) -> anyhow::Result<Value> {
        let mut metadata = match &self.metadata {
            None => Map::new(),
            Some(Value::Object(fields)) => fields.clone(),
            Some(_) => return Err(failure::Misused("--metadata is not a JSON object".to_owned()).into()),
        };
        if let Some(concurrency) = self.concurrency {
            metadata.insert("concurrency".to_owned(), json!(concurrency));
        }
        Ok(body([
            ("agentId", text(self.id.as_deref())),
            ("agentName", Some(json!(self.name))),
            ("version", Some(json!(self.its_version))),
            ("contactEndpoint", text(self.endpoint.as_deref())),
            ("capabilities", Some(json!(self.capabilities))),
            ("metadata", Some(Value::Object(metadata)).filter(|fields| *fields != json!({}))),
        ]))
    }

    /// The SSH key of the agent. An agent that is new goes again where its key is refused: it could never sign in. One that was
    /// there before stays, and so does one whose key may have been taken.
    async fn add_key(
        &self,
        context: &Context,
        (id, is_new): (&str, bool),
        key: &str,
    ) -> anyhow::Result<Value> {
        let body = json!({"name": self.name, "public_key": key, "key_type": "agent", "agent_id": id});
        let error = match context.send(Method::POST, SSH_KEYS.path, Some(&body)).await {
            Ok(added) => return output::value(&added),
            Err(error) => error,
        };
        if failure::kind(&error) == Some("ssh-key-taken")
            && let Ok(Some(own)) = own_key(context, id, key).await
        {
            return Ok(own);
        }
        if !is_refusal(&error) {
            return Err(error.context(format!(
                "agent {id} is registered, and whether its key was added is not known; the same with --replace adds it where \
                 it is missing"
            )));
        }
        if !is_new {
            return Err(error.context(format!("agent {id} is registered, and its key is not added")));
        }
        match context.send(Method::DELETE, &AGENTS.at(&[id]), None).await {
            Err(left) if failure::status(&left) != Some(404) => Err(error.context(format!(
                "agent {id} is registered without its key, which is not taken; 'signalbox agents remove {id}' removes it"
            ))),
            _ => Err(error.context("the agent is not registered, for its key is not taken")),
        }
    }

    fn refused(&self, error: anyhow::Error) -> anyhow::Error {
        let kind = failure::kind(&error);
        match kind {
            Some("name-taken") => anyhow::anyhow!(
                "there is an agent '{}' already; --replace takes its name over, 'signalbox agents show {}' shows it",
                self.name,
                self.name
            ),
            _ => error,
        }
    }

    /// What is left to do.
    fn next_step(&self, id: &str, told: &Value) -> String {
        match (&self.endpoint, &self.ssh_key) {
            (_, Some(file)) => format!(
                "it signs in as {id} with the private half of {} ({})",
                file.display(),
                told["fingerprint"].as_str().unwrap_or_default()
            ),
            (Some(endpoint), None) => format!(
                "what is sent to it is POSTed to {endpoint}; 'signalbox agents message {} {{}}' tries it",
                self.name
            ),
            (None, None) => format!(
                "it connects as {id} with a key of scope agent; 'signalbox keys create {} --scope agent' makes one",
                self.name
            ),
        }
    }
}

/// Whether the server has decided that it does not do what it was asked. After any other error it may have done it.
fn is_refusal(error: &anyhow::Error) -> bool {
    failure::status(error).is_some_and(|status| (400..500).contains(&status) && status != 408)
}

/// The key as the server has it, where it signs this agent in already.
async fn own_key(context: &Context, id: &str, key: &str) -> anyhow::Result<Option<Value>> {
    let fingerprint = PublicKey::parse(key)?.fingerprint();
    let query = ListQuery::new();
    let mut pages = Pages::new(&SSH_KEYS, &query, 0);
    while let Some(page) = pages.next(context, SSH_KEYS.path).await? {
        for known in page {
            let known = output::value(&known)?;
            if known["fingerprint"] == fingerprint {
                let is_own = known["agent_id"] == id && known["status"] == "active";
                return Ok(is_own.then_some(known));
            }
        }
    }
    Ok(None)
}

/// The public key of a file.
fn public_key(file: &Path) -> anyhow::Result<String> {
    let text = read(file)?;
    if text.contains("PRIVATE KEY") {
        bail!("{0} is the private half of a key, which stays with the agent; give {0}.pub", file.display());
    }
    Ok(text.trim().to_owned())
}
