//! `signalbox config`: servers by name, each with its key and tenant, in a file for its owner alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::output::{self, Format, Many};
use super::resource::Column;
use super::table::{self, Fields, Look};
use crate::{edge, printer};

/// The file in the folder of the configuration.
const FILE: &str = "config.toml";
/// How much of a key is shown: enough to tell two apart.
const KEY_SHOWN: usize = 8;

const COLUMNS: [Column; 5] = [
    Column::text("CURRENT", "/current"),
    Column::id("NAME", "/name"),
    Column::text("SERVER", "/url"),
    Column::text("KEY", "/key"),
    Column::text("TENANT", "/tenant"),
];

/// What is done with profiles.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    verb: ConfigVerb,
    /// The form of what is printed
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    /// List profiles
    #[command(after_help = example!("config list"))]
    List,
    /// Show a profile, without its key
    #[command(after_help = example!("config show production"))]
    Show {
        /// The profile; the current one where absent
        name: Option<String>,
    },
    /// Keep a profile, or change what is given of it; the first becomes the current one
    #[command(after_help = example!("config set production --server https://signalbox.example.com --key-file key.txt"))]
    Set {
        /// The profile
        name: String,
        /// The server's address
        #[arg(long)]
        server: Option<String>,
        /// A file that holds the API key; - reads standard input
        #[arg(long)]
        key_file: Option<PathBuf>,
        /// The tenant to act in, by its id or name; for the platform key
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Make a profile the current one
    #[command(after_help = example!("config use production"))]
    Use {
        /// The profile
        name: String,
    },
    /// Remove a profile
    #[command(after_help = example!("config remove production"))]
    Remove {
        /// The profile
        name: String,
    },
    /// Print where profiles are kept
    #[command(after_help = example!("config path"))]
    Path,
}

/// A server by name.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

/// All profiles, and which is the current one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profiles {
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Those that are kept; none where there is no file.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| anyhow::anyhow!("{} cannot be read: {}", path.display(), error.message())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }

    /// The one with this name.
    pub(crate) fn get(&self, name: &str) -> anyhow::Result<(String, Profile)> {
        let profile = self.profiles.get(name).with_context(|| {
            format!("there is no profile '{name}'; 'signalbox config list' shows what there is")
        })?;
        Ok((name.to_owned(), profile.clone()))
    }

    /// The current one.
    pub(crate) fn current(&self) -> Option<(String, Profile)> {
        let name = self.current.as_ref()?;
        Some((name.clone(), self.profiles.get(name)?.clone()))
    }

    /// Written under another name first, so that a full disk costs no profile.
    fn write(&self) -> anyhow::Result<()> {
        let path = path().context("there is no place to keep profiles: set SIGNALBOX_CONFIG_DIR or HOME")?;
        let unwritable = || format!("{} cannot be written", path.display());
        let folder = path.parent().with_context(unwritable)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(unwritable)?;
        let new = path.with_extension("new");
        let _ = fs::remove_file(&new);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .with_context(unwritable)?;
        file.write_all(toml::to_string(self)?.as_bytes()).with_context(unwritable)?;
        file.sync_all().with_context(unwritable)?;
        fs::rename(&new, &path).with_context(unwritable)
    }

    fn told(&self, name: &str, profile: &Profile) -> Value {
        let key = profile.key.as_ref().map(|key| {
            let shown: String = key.chars().take(KEY_SHOWN).collect();
            format!("{shown}…")
        });
        let is_current = self.current.as_deref() == Some(name);
        json!({"name": name, "current": if is_current { "*" } else { "" }, "url": profile.url, "key": key,
               "tenant": profile.tenant})
    }
}

/// Does what is asked with profiles.
pub(crate) fn config(asked: &Config) -> anyhow::Result<ExitCode> {
    let mut profiles = Profiles::read()?;
    match &asked.verb {
        ConfigVerb::List => list(asked.output, &profiles)?,
        ConfigVerb::Show { name } => {
            let named = name.as_deref().map(|name| profiles.get(name)).transpose()?;
            let (name, profile) = named
                .or_else(|| profiles.current())
                .context("there is no current profile; 'signalbox config set' keeps one")?;
            let told = profiles.told(&name, &profile);
            let told = serde_json::value::to_raw_value(&told)?;
            if asked.output.is_table() {
                printer::line(&table::details(&Fields::read(&told)?)?);
            } else {
                output::whole(asked.output, &told)?;
            }
        }
        ConfigVerb::Set { name, server, key_file, tenant } => {
            let profile = profiles.profiles.entry(name.clone()).or_default();
            if let Some(server) = server {
                // Refuses what is no address.
                signalbox_client::Client::new(server, None)?;
                profile.url = Some(server.clone());
            }
            if let Some(file) = key_file {
                profile.key = Some(key(file)?);
            }
            if tenant.is_some() {
                profile.tenant.clone_from(tenant);
            }
            profiles.current.get_or_insert_with(|| name.clone());
            profiles.write()?;
            printer::notice(&format!("profile {name} is kept"));
        }
        ConfigVerb::Use { name } => {
            profiles.get(name)?;
            profiles.current = Some(name.clone());
            profiles.write()?;
            printer::notice(&format!("profile {name} is the current one"));
        }
        ConfigVerb::Remove { name } => {
            profiles.get(name)?;
            profiles.profiles.remove(name);
            profiles.current = profiles.current.take().filter(|current| current != name);
            profiles.write()?;
            printer::notice(&format!("profile {name} is removed"));
        }
        ConfigVerb::Path => {
            let path =
                path().context("there is no place to keep profiles: set SIGNALBOX_CONFIG_DIR or HOME")?;
            printer::line(&path.display().to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(format: Format, profiles: &Profiles) -> anyhow::Result<()> {
    let told: Vec<Value> =
        profiles.profiles.iter().map(|(name, profile)| profiles.told(name, profile)).collect();
    if !format.is_table() {
        let mut many = Many::begin(format);
        for profile in &told {
            many.add(&serde_json::value::to_raw_value(profile)?)?;
        }
        many.end();
    } else if told.is_empty() {
        printer::notice("there is no profile; 'signalbox config set' keeps one");
    } else {
        printer::line(&table::of_things(&COLUMNS, &told, (format, Look::detect(), edge::now())));
    }
    Ok(())
}

fn key(file: &std::path::Path) -> anyhow::Result<String> {
    match super::input::read(file)?.trim() {
        "" => bail!("{} holds no key", file.display()),
        key => Ok(key.to_owned()),
    }
}

/// `$SIGNALBOX_CONFIG_DIR`, else the folder of the user's configuration.
fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("SIGNALBOX_CONFIG_DIR")
        .or_else(|| Some(set("XDG_CONFIG_HOME")?.join("signalbox")))
        .or_else(|| Some(set("HOME")?.join(".config").join("signalbox")))?;
    Some(folder.join(FILE))
}
