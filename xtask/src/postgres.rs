//! PostgreSQL for the tests: where its programs are, or how they come onto this machine.
//!
//! [`Cluster`] is a server of our own in a temporary folder; a system's own server is never touched or started.

mod account;
mod cluster;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub(crate) use self::account::is_root;
pub(crate) use self::cluster::Cluster;
use crate::print;

/// The programs that a cluster needs, all in one folder.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Where distributions keep them, by version, outside `PATH`.
const VERSIONED: &str = "/usr/lib/postgresql";

/// Read by Debian when a server package is installed.
const CLUSTER_RULES: &str = "/etc/postgresql-common/createcluster.d";

/// The folder of PostgreSQL's programs: the one in `PATH`, else the newest version of the distribution.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).find_map(|folder| {
        // The link in PATH may stand alone; the server finds its parts beside the real file.
        let initdb = fs::canonicalize(folder.join(PROGRAMS[0])).ok()?;
        initdb.parent().filter(|real| is_complete(real)).map(Path::to_owned)
    });
    in_path.or_else(|| newest(Path::new(VERSIONED)))
}

/// Installs the distribution's PostgreSQL, without the server that its package would start.
pub(crate) fn install() -> Result<PathBuf> {
    if !is_root()? {
        bail!("it is neither in PATH nor in {VERSIONED}, and only root can install it");
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("it is neither in PATH nor in {VERSIONED}, and there is no apt-get to install it with");
    }
    print::notice("PostgreSQL is missing: installing it with apt-get");
    let rule = Rule::without_main_cluster();
    quietly(Command::new("apt-get").arg("update"))?;
    quietly(Command::new("apt-get").args(["install", "-y", "--no-install-recommends", "postgresql"]))?;
    drop(rule);
    stop_system_clusters()?;
    find()
        .with_context(|| format!("apt-get installed it, but {} are not in {VERSIONED}", PROGRAMS.join(", ")))
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

fn newest(versions: &Path) -> Option<PathBuf> {
    let version = |folder: &PathBuf| folder.file_name()?.to_str()?.parse::<f32>().ok();
    let mut folders: Vec<PathBuf> =
        fs::read_dir(versions).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.retain(|folder| is_complete(&folder.join("bin")));
    folders.sort_by(|a, b| version(a).partial_cmp(&version(b)).unwrap_or(std::cmp::Ordering::Equal));
    folders.pop().map(|folder| folder.join("bin"))
}

/// Runs apt-get, whose pages of output matter only when it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    let shown = crate::repo::shown(command);
    let done = command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`{shown}` failed with {}: {}", done.status, said.trim());
    }
    Ok(())
}

/// A rule for the package's installation that goes with this value.
struct Rule(PathBuf);

impl Rule {
    /// Where the rule cannot be written, [`stop_system_clusters`] sees to the rest.
    fn without_main_cluster() -> Option<Self> {
        let file = Path::new(CLUSTER_RULES).join("signalbox-test.conf");
        fs::create_dir_all(CLUSTER_RULES).ok()?;
        fs::write(&file, "create_main_cluster = false\n").ok()?;
        Some(Self(file))
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            print::notice(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// Without its programs no server could be started before, so the package has started what runs now.
fn stop_system_clusters() -> Result<()> {
    let Ok(listed) = Command::new("pg_lsclusters").arg("--no-header").output() else { return Ok(()) };
    for line in String::from_utf8_lossy(&listed.stdout).lines() {
        let mut words = line.split_whitespace();
        if let (Some(version), Some(name), Some(_port), Some("online")) =
            (words.next(), words.next(), words.next(), words.next())
        {
            quietly(Command::new("pg_ctlcluster").args([version, name, "stop"]))?;
        }
    }
    Ok(())
}
