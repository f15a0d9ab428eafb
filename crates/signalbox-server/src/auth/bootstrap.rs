//! The keys of a first start: made once, kept in the data directory with mode 0600, and never printed.
//!
//! `platform.key` creates tenants; `admin.key` is the admin key of the tenant `default`, for the command line
//! on the same machine and for whoever copies it; `webhook.secret` signs session webhooks. Keys given by
//! configuration are not written anywhere. None of them is ever logged.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signalbox_wire::id::NodeId;
use signalbox_wire::keys::{self, Secret};
use signalbox_wire::signature;

use crate::clock;
use crate::config::Config;

/// The platform key's file in the data directory.
const PLATFORM_FILE: &str = "platform.key";
/// The admin key's file in the data directory.
const ADMIN_FILE: &str = "admin.key";
/// The file of the secret that signs session webhooks.
const WEBHOOK_SECRET_FILE: &str = "webhook.secret";
/// The node's file in the data directory.
pub(crate) const NODE_FILE: &str = "node.id";

/// The files with what is made at a first start and cannot be made again. A backup holds them all.
pub(crate) const KEPT: [&str; 3] = [PLATFORM_FILE, ADMIN_FILE, WEBHOOK_SECRET_FILE];

/// The keys that a server starts with.
pub(crate) struct Keys {
    pub(crate) platform: Secret,
    pub(crate) admin: Secret,
    /// What signs session webhooks.
    pub(crate) session_webhooks: Secret,
    /// What was made just now: what each is, and its file.
    pub(crate) made: Vec<String>,
}

/// Who this process is to others that share its database: the same after a restart, so that what an earlier
/// process held can be taken up at once. The directory's lock keeps two processes from being one node.
pub(crate) fn node(data_dir: &Path) -> io::Result<NodeId> {
    let path = data_dir.join(NODE_FILE);
    if let Some(known) = std::fs::read_to_string(&path).ok().and_then(|text| NodeId::parse(text.trim()).ok())
    {
        return Ok(known);
    }
    let node = NodeId::new(clock::now(), clock::seed_128());
    write(&path, node.as_str())?;
    Ok(node)
}

/// The configured keys, else those of an earlier start, else new ones.
pub(crate) fn keys(config: &Config) -> io::Result<Keys> {
    let file = |name| config.server.data_dir.join(name);
    let (platform, made_platform) =
        key(config.services.platform_key.as_ref(), &file(PLATFORM_FILE), keys::from_random)?;
    let (admin, made_admin) =
        key(config.services.opscore_api_key.as_ref(), &file(ADMIN_FILE), keys::from_random)?;
    // Whoever runs the receivers looks it up; it opens nothing here, so nothing is said of it.
    let (session_webhooks, _) =
        key(config.services.webhook_secret.as_ref(), &file(WEBHOOK_SECRET_FILE), webhook_secret)?;
    let mut made = Vec::new();
    let kept = |what: &str, name| format!("{what}; it is kept in {}", file(name).display());
    made.extend(made_platform.then(|| kept("platform key", PLATFORM_FILE)));
    made.extend(made_admin.then(|| kept("admin key", ADMIN_FILE)));
    Ok(Keys { platform, admin, session_webhooks, made })
}

/// A secret in the form that the libraries of Standard Webhooks read.
pub(crate) fn webhook_secret(random: &[u8; 32]) -> Secret {
    Secret::new(format!("{}{}", signature::SECRET_PREFIX, STANDARD.encode(random)))
}

/// A key, and whether it was made just now.
fn key(
    configured: Option<&Secret>,
    path: &Path,
    make: impl FnOnce(&[u8; 32]) -> Secret,
) -> io::Result<(Secret, bool)> {
    if let Some(key) = configured {
        return Ok((key.clone(), false));
    }
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok((Secret::new(text.trim()), false)),
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = make(&clock::secret_bytes());
    write(path, key.expose())?;
    Ok((key, true))
}

/// Writes a line, for its owner alone. It is written beside and renamed, and both are flushed, so that a crash
/// leaves all of it or none.
pub(crate) fn write(path: &Path, line: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let _ = std::fs::remove_file(&draft);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let folder = std::env::temp_dir().join(format!("signalbox-keys-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary folder");
        let path = folder.join("a.key");
        let (first, was_made) = key(None, &path, keys::from_random).expect("made");
        assert!(was_made);
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let (again, was_made) = key(None, &path, keys::from_random).expect("read");
        assert_eq!((again.expose(), was_made), (first.expose(), false));
        let (configured, was_made) =
            key(Some(&Secret::new("mine")), &path, keys::from_random).expect("configured");
        assert_eq!((configured.expose(), was_made), ("mine", false));
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
