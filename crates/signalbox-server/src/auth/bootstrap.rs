//! The keys of a first start: made once, shown once, kept in the data directory with mode 0600.
//!
//! `platform.key` creates tenants; `admin.key` is the admin key of the tenant `default`, for the command line
//! on the same machine and for whoever copies it. Keys given by configuration are not written anywhere.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use signalbox_wire::id::NodeId;
use signalbox_wire::keys::{self, Secret};

use crate::clock;
use crate::config::Config;

/// The platform key's file in the data directory.
pub(crate) const PLATFORM_FILE: &str = "platform.key";
/// The admin key's file in the data directory.
pub(crate) const ADMIN_FILE: &str = "admin.key";

/// The file of the secret that signs notices.
const NOTICES_FILE: &str = "webhook.secret";

/// The keys that a server starts with.
pub(crate) struct Keys {
    pub(crate) platform: Secret,
    pub(crate) admin: Secret,
    /// What signs the notices of a session's end.
    pub(crate) notices: Secret,
    /// What was made just now and is to be shown once.
    pub(crate) made: Vec<(&'static str, Secret)>,
}

/// The node's file in the data directory.
const NODE_FILE: &str = "node.id";

/// Who this process is to others that share its database: the same after a restart, so that what an earlier
/// process held can be taken up at once. The directory's lock keeps two processes from being one node.
pub(crate) fn node(data_dir: &Path) -> io::Result<NodeId> {
    let path = data_dir.join(NODE_FILE);
    if let Some(known) = std::fs::read_to_string(&path).ok().and_then(|text| NodeId::parse(text.trim()).ok())
    {
        return Ok(known);
    }
    let node = NodeId::new(clock::now(), clock::seed_128());
    std::fs::write(&path, format!("{node}\n"))?;
    Ok(node)
}

/// The configured keys, else those of an earlier start, else new ones.
pub(crate) fn keys(config: &Config) -> io::Result<Keys> {
    let mut made = Vec::new();
    let platform =
        key(config.platform_key.as_ref(), &config.data_dir.join(PLATFORM_FILE), "platform key", &mut made)?;
    let admin =
        key(config.opscore_api_key.as_ref(), &config.data_dir.join(ADMIN_FILE), "admin key", &mut made)?;
    // Whoever runs the receivers looks it up; it opens nothing here.
    let path = config.data_dir.join(NOTICES_FILE);
    let notices = key(config.webhook_secret.as_ref(), &path, "webhook secret", &mut Vec::new())?;
    Ok(Keys { platform, admin, notices, made })
}

fn key(
    configured: Option<&Secret>,
    path: &Path,
    what: &'static str,
    made: &mut Vec<(&'static str, Secret)>,
) -> io::Result<Secret> {
    if let Some(key) = configured {
        return Ok(key.clone());
    }
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret::new(text.trim())),
        Ok(_) => std::fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let key = keys::from_random(&clock::secret_bytes());
    // Written beside and renamed, so that a crash leaves a whole key or none.
    let draft = path.with_extension("new");
    let _ = std::fs::remove_file(&draft);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", key.expose())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    made.push((what, key.clone()));
    Ok(key)
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
        let mut made = Vec::new();
        let first = key(None, &path, "a key", &mut made).expect("made");
        assert_eq!(made.len(), 1);
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let again = key(None, &path, "a key", &mut made).expect("read");
        assert_eq!((again.expose(), made.len()), (first.expose(), 1));
        let configured = key(Some(&Secret::new("mine")), &path, "a key", &mut made).expect("configured");
        assert_eq!(configured.expose(), "mine");
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
