//! SSH keys as other programs make them and sign with them: `ssh-keygen`, `openssl`, and Python's paramiko.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Names a Python with paramiko and cryptography; `cargo xtask test` makes one.
const PYTHON: &str = "SIGNALBOX_TEST_PYTHON";

/// A key pair in a folder of its own.
pub(crate) struct SshKey {
    folder: tempfile::TempDir,
}

impl SshKey {
    /// Made by `ssh-keygen -t …`.
    pub(crate) fn make(kind: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = Self { folder };
        let file = key.file("key");
        let mut arguments = vec!["-q", "-N", "", "-C", "made for a test", "-m", "PEM", "-f", &file];
        arguments.push("-t");
        arguments.extend(kind.split(' '));
        run("ssh-keygen", &arguments);
        key
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().expect("UTF-8").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The line of its `.pub` file.
    pub(crate) fn public(&self) -> String {
        fs::read_to_string(self.path("key.pub")).expect("a public key")
    }

    /// Its private key, as `ssh-keygen` wrote it.
    pub(crate) fn private(&self) -> String {
        fs::read_to_string(self.path("key")).expect("a private key")
    }

    /// The fingerprint that `ssh-keygen -l` prints.
    pub(crate) fn fingerprint(&self) -> String {
        let printed = run("ssh-keygen", &["-l", "-f", &self.file("key.pub")]);
        let printed = String::from_utf8(printed).expect("UTF-8");
        printed.split(' ').nth(1).expect("a fingerprint").to_owned()
    }

    /// `ssh-keygen -Y sign`, in base64.
    pub(crate) fn armoured(&self, challenge: &str, namespace: &str) -> String {
        fs::write(self.path("challenge"), challenge).expect("written");
        let _ = fs::remove_file(self.path("challenge.sig"));
        let (key, challenge) = (self.file("key"), self.file("challenge"));
        run("ssh-keygen", &["-q", "-Y", "sign", "-n", namespace, "-f", &key, &challenge]);
        STANDARD.encode(fs::read(self.path("challenge.sig")).expect("a signature"))
    }

    /// `openssl dgst`, in base64.
    pub(crate) fn openssl(&self, challenge: &str, options: &[&str]) -> String {
        fs::write(self.path("challenge"), challenge).expect("written");
        let (key, challenge) = (self.file("key"), self.file("challenge"));
        let arguments = [&["dgst"], options, &["-sign", &key, &challenge]].concat();
        STANDARD.encode(run("openssl", &arguments))
    }

    /// What a Python script prints that gets the key's file and the challenge; `None` where there is no Python for it.
    pub(crate) fn python(&self, script: &str, challenge: &str) -> Option<String> {
        let Ok(python) = std::env::var(PYTHON) else {
            eprintln!("not run with paramiko, as {PYTHON} is not set");
            return None;
        };
        let printed = run(&python, &["-c", script, &self.file("key"), challenge]);
        Some(String::from_utf8(printed).expect("UTF-8").trim().to_owned())
    }
}

#[track_caller]
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let done = Command::new(program).args(arguments).output();
    let done = done.unwrap_or_else(|error| panic!("{program} cannot be started: {error}"));
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {said}");
    done.stdout
}
