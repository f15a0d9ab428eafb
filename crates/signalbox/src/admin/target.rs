//! Which server is asked, with which key, and how the answer is written. What is given on the command line counts first,
//! then a profile that is named, then the environment, then the current profile, then what is usual.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use signalbox_client::{Client, Error, URL_DEFAULT};
use signalbox_wire::reason;

use super::context::Context;
use super::output::Format;
use super::profiles::{Profile, Profiles};
use super::table::Look;
use super::tenant;
use crate::{edge, printer};

/// Which server, with which key, and in which form.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Target {
    /// The form of what is printed
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    pub(crate) output: Format,
    /// The server's address [else SIGNALBOX_URL, the profile's, that of the server of the data directory, or http://127.0.0.1:8000]
    #[arg(long, global = true)]
    pub(crate) url: Option<String>,
    /// The profile to take server, key and tenant from, as 'signalbox config set' keeps it
    #[arg(long, env = "SIGNALBOX_PROFILE", global = true)]
    pub(crate) profile: Option<String>,
    /// The tenant to act in, by its id or name; for the platform key
    #[arg(long, global = true)]
    pub(crate) tenant: Option<String>,
    /// The data directory that holds admin.key and the server's address, for when neither a variable nor a profile gives them
    #[arg(long, env = "SIGNALBOX_DATA_DIR", default_value = "signalbox-data", global = true)]
    pub(crate) data_dir: PathBuf,
}

/// What is to be done, and on which server.
#[derive(Debug, Args)]
pub(crate) struct Asked<V: Subcommand> {
    #[command(subcommand)]
    pub(crate) verb: V,
    #[command(flatten)]
    pub(crate) target: Target,
}

/// What the options, the environment and the profiles come to.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) url: String,
    /// Where the address was found.
    url_source: UrlSource,
    pub(crate) tenant: Option<String>,
    key: Option<(String, String)>,
    data_dir: PathBuf,
}

/// Where an address was found.
#[derive(Debug)]
enum UrlSource {
    /// Somebody named it: an option, a variable or a profile.
    Given(String),
    /// The file of a server that listens, or listened when it was killed.
    File(PathBuf),
    /// Nothing names one.
    Usual,
}

/// A value, and where it was found.
type Found = Option<(String, String)>;

impl Target {
    /// What counts.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let profiles = Profiles::read()?;
        let (named, current) = match &self.profile {
            Some(name) => (Some(profiles.get(name)?), None),
            None => (None, profiles.current()),
        };
        let of = |profile: &Option<(String, Profile)>, field: fn(&Profile) -> &Option<String>| -> Found {
            let (name, profile) = profile.as_ref()?;
            Some((field(profile).clone()?, format!("the profile '{name}'")))
        };
        let url = self.url.clone().map(|url| (url, "--url".to_owned()));
        let url = url
            .or_else(|| of(&named, |profile| &profile.url))
            .or_else(|| variable(&["SIGNALBOX_URL", "OPSCORE_API_URL"]))
            .or_else(|| of(&current, |profile| &profile.url));
        let (url, url_source) = match url {
            Some((url, source)) => (url, UrlSource::Given(source)),
            None => address_file(&self.data_dir)
                .map(|(url, path)| (url, UrlSource::File(path)))
                .unwrap_or_else(|| (URL_DEFAULT.to_owned(), UrlSource::Usual)),
        };
        let key = of(&named, |profile| &profile.key)
            .or_else(|| variable(&["SIGNALBOX_API_KEY", "OPSCORE_API_KEY"]))
            .or_else(|| of(&current, |profile| &profile.key));
        let tenant = self.tenant.clone().or_else(|| {
            let profile = named.as_ref().or(current.as_ref())?;
            profile.1.tenant.clone()
        });
        Ok(Settings { url, url_source, tenant, key, data_dir: self.data_dir.clone() })
    }

    /// The context of a command.
    pub(crate) async fn context(&self, settings: &Settings) -> anyhow::Result<Context> {
        let client = settings.client_in_tenant().await?;
        Ok(Context { client, format: self.output, look: Look::detect(), now: edge::now() })
    }
}

impl Settings {
    /// The key, and where it was found.
    pub(crate) fn key(&self) -> anyhow::Result<(String, String)> {
        match &self.key {
            Some(found) => Ok(found.clone()),
            None => key_file(&self.data_dir),
        }
    }

    /// The address, and where it was found.
    pub(crate) fn place(&self) -> String {
        match &self.url_source {
            UrlSource::Given(source) => format!("{} (from {source})", self.url),
            UrlSource::File(path) => format!("{} (from {})", self.url, path.display()),
            UrlSource::Usual => format!("{} (what is usual; SIGNALBOX_URL is not set)", self.url),
        }
    }

    /// What is said where nothing listens at the address.
    pub(crate) fn no_server(&self) -> String {
        let place = match &self.url_source {
            UrlSource::File(path) => {
                format!("{} (from {}; it may have been killed)", self.url, path.display())
            }
            _ => self.place(),
        };
        format!("no server at {place}: {}", self.cure())
    }

    /// What to do where nothing listens at the address.
    pub(crate) fn cure(&self) -> &'static str {
        match self.url_source {
            UrlSource::File(_) => "start one with 'signalbox serve', or name another with --url",
            _ => "start one with 'signalbox serve', or name another with --url or SIGNALBOX_URL",
        }
    }

    /// A client of the server, in the tenant of its key, which comes with where it was found.
    pub(crate) fn client(&self, key: Option<&(String, String)>) -> anyhow::Result<Client> {
        let warn = |text: &str| printer::notice(&format!("warning: {text}"));
        // First without the key, so that what is wrong with it is told apart from what is wrong with the address.
        let client = Client::new(&self.url, None)?.on_warning(warn);
        let Some((key, source)) = key else { return Ok(client) };
        client.with_key(Some(key)).map_err(|error| match error {
            Error::Unusable { reason, .. } => {
                BadKey(format!("the API key of {source} cannot be used: {reason}; give it anew")).into()
            }
            error => error.into(),
        })
    }

    /// A client with the key, in the tenant that is asked for.
    pub(crate) async fn client_in_tenant(&self) -> anyhow::Result<Client> {
        let client = self.client(Some(&self.key()?))?;
        let Some(tenant) = &self.tenant else { return Ok(client) };
        let id = tenant::id_of(&client, tenant).await.with_context(|| format!("the tenant '{tenant}'"))?;
        Ok(client.with_tenant(&id)?)
    }

    /// Where the platform key is, as far as this machine can tell.
    pub(crate) fn platform_key(&self) -> String {
        let file = self.data_dir.join("platform.key");
        let place = if file.exists() {
            format!("SIGNALBOX_API_KEY=$(cat {})", file.display())
        } else {
            "it is in platform.key in the server's data directory".to_owned()
        };
        format!("{place}, unless the server was given another by SIGNALBOX_PLATFORM_KEY")
    }
}

/// The first of these variables that is set to something.
fn variable(names: &[&str]) -> Found {
    let set = |name: &&str| {
        let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
        Some((value, format!("the variable {name}")))
    };
    names.iter().find_map(set)
}

/// The address that a server told in its data directory, and the file that has it.
fn address_file(data_dir: &Path) -> Option<(String, PathBuf)> {
    let path = data_dir.join(signalbox_server::address_file::FILE);
    let url = std::fs::read_to_string(&path).ok()?.trim().to_owned();
    (!url.is_empty()).then_some((url, path))
}

fn key_file(data_dir: &Path) -> anyhow::Result<(String, String)> {
    let path = data_dir.join("admin.key");
    let shown = path.display();
    let key = std::fs::read_to_string(&path).map_err(|error| {
        anyhow::anyhow!(
            "there is no key: set SIGNALBOX_API_KEY, keep one with 'signalbox config set', or name the server's \
             --data-dir ({shown} cannot be read: {})",
            reason::of(&error)
        )
    })?;
    match key.trim() {
        "" => bail!("{shown} is empty; set SIGNALBOX_API_KEY"),
        key => Ok((key.to_owned(), shown.to_string())),
    }
}

/// A key that cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadKey(String);
