//! PostgreSQL refuses to run as root: the account that it runs as instead.
//!
//! [`Account`] is that of the caller, or an unprivileged one with a way of becoming it.

use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// In this order; every system has the last.
const UNPRIVILEGED: [&str; 2] = ["postgres", "nobody"];

/// Whether this process is root.
pub(crate) fn is_root() -> Result<bool> {
    Ok(id("-u", None).context("cannot tell who runs this")? == 0)
}

/// Who runs the server.
pub(super) enum Account {
    /// The caller, who is not root.
    Caller,
    /// Somebody whom the caller, root, can become.
    Other { name: &'static str, user: u32, group: u32, way: Way },
}

/// Programs that run another as somebody else; which of them exist differs between systems.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Setpriv,
    Runuser,
    Su,
}

impl Account {
    /// The account to use on this machine.
    pub(super) fn choose() -> Result<Self> {
        if !is_root()? {
            return Ok(Self::Caller);
        }
        for name in UNPRIVILEGED {
            let (Ok(user), Ok(group)) = (id("-u", Some(name)), id("-g", Some(name))) else { continue };
            for way in [Way::Setpriv, Way::Runuser, Way::Su] {
                let account = Self::Other { name, user, group, way };
                if account.can(&["true"]) {
                    return Ok(account);
                }
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and none of setpriv, runuser and su can become {UNPRIVILEGED:?}"
        )
    }

    /// The command `words`, run by this account.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let before = match self {
            Self::Caller => Vec::new(),
            Self::Other { name, user, group, way } => way.words(name, *user, *group),
        };
        let mut all = before.iter().map(String::as_str).chain(words.iter().copied());
        let mut command = Command::new(all.next().unwrap_or("true"));
        command.args(all);
        command
    }

    /// Whether a command succeeds.
    pub(super) fn can(&self, words: &[&str]) -> bool {
        let mut command = self.command(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Gives a folder to this account; `false` where it still cannot use it, as below a closed folder.
    pub(super) fn take(&self, folder: &Path) -> bool {
        let given = match self {
            Self::Caller => true,
            Self::Other { user, group, .. } => chown(folder, Some(*user), Some(*group)).is_ok(),
        };
        given && self.can(&["test", "-w", &folder.to_string_lossy()])
    }
}

impl Way {
    fn words(self, name: &str, user: u32, group: u32) -> Vec<String> {
        let words = match self {
            Self::Setpriv => {
                format!("setpriv --reuid={user} --regid={group} --clear-groups --")
            }
            Self::Runuser => format!("runuser --user={name} --"),
            Self::Su => {
                // su hands everything after the name to a shell, which then becomes the command.
                let become_it = ["su", "-s", "/bin/sh", "-c", r#"exec "$@""#, "--", name, "sh"];
                return become_it.map(str::to_owned).to_vec();
            }
        };
        words.split(' ').map(str::to_owned).collect()
    }
}

fn id(what: &str, name: Option<&str>) -> Result<u32> {
    let asked = Command::new("id").arg(what).args(name).output().context("cannot start `id`")?;
    let answer = String::from_utf8_lossy(&asked.stdout);
    answer.trim().parse().with_context(|| format!("`id {what}` answered {answer:?}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_way_reaches_the_command_with_its_arguments() {
        if !is_root().unwrap() {
            return;
        }
        for way in [Way::Setpriv, Way::Runuser, Way::Su] {
            let (name, user) = ("nobody", id("-u", Some("nobody")).unwrap());
            let account = Account::Other { name, user, group: id("-g", Some(name)).unwrap(), way };
            if !account.can(&["true"]) {
                continue;
            }
            let done = account.command(&["sh", "-c", r#"id -u; echo "$1|$2""#, "sh", "a b", "-c"]).output();
            let said = String::from_utf8(done.unwrap().stdout).unwrap();
            assert_eq!(said, format!("{user}\na b|-c\n"), "{way:?}");
        }
    }

    #[test]
    fn the_chosen_account_may_write_what_it_takes() {
        let account = Account::choose().unwrap();
        let folder = std::env::temp_dir().join(format!("signalbox-account-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let taken = account.take(&folder);
        fs::remove_dir(&folder).unwrap();
        // A temporary folder of root alone is the case in which the answer must be no.
        assert_eq!(taken, account.can(&["test", "-x", &std::env::temp_dir().to_string_lossy()]));
    }
}
