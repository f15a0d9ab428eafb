//! `cargo xtask dist`: what is given to people who have no compiler, in `target/dist/`.
//!
//! Two wheels, the SDK `agentkit` and `signalbox` with the binary in it, and a tarball with the binary, completions of
//! shells, a commented `signalbox.toml` and a systemd unit. `SHA256SUMS` names them all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::repo::{self, Repo};
use crate::{agentkit, print};

/// The crates that become wheels, by their manifests.
const WHEELS: [&str; 2] = [agentkit::MANIFEST, "crates/signalbox/Cargo.toml"];

/// The shells that get completions, each with its file.
const SHELLS: [(&str, &str); 3] =
    [("bash", "signalbox.bash"), ("fish", "signalbox.fish"), ("zsh", "_signalbox")];

/// Files that go into the tarball as they are, and where.
const COPIED: [(&str, &str); 3] = [
    ("LICENSE", "LICENSE"),
    ("deploy/signalbox.service", "systemd/signalbox.service"),
    ("README.md", "README.md"),
];

/// What to make.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// With the profile of the tests: large and slow, and soon there.
    dev: bool,
}

impl Options {
    /// `None` for words that mean nothing here.
    pub(crate) fn parse(args: &[String]) -> Option<Self> {
        match args {
            [] => Some(Self::default()),
            [dev] if dev == "--dev" => Some(Self { dev: true }),
            _ => None,
        }
    }

    fn profile(&self) -> &'static str {
        if self.dev { "dev" } else { "release" }
    }

    /// Where cargo puts what it builds with this profile.
    fn folder(&self) -> &'static str {
        if self.dev { "debug" } else { "release" }
    }
}

/// Makes everything and says where it is.
pub(crate) fn run(repo: &Repo, options: &Options) -> Result<()> {
    let python =
        agentkit::environment(repo, false)?.context("wheels are made by maturin, which needs Python")?;
    let out = repo.path("target/dist");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot empty {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    wheels(repo, &python, options, &out)?;
    tarball(repo, options, &out)?;
    sums(&out)?;
    print::notice(&format!(
        "in {}:\n{}\ntry it: python3 -m venv /tmp/signalbox && /tmp/signalbox/bin/pip install {0}/*.whl && \
         /tmp/signalbox/bin/signalbox demo",
        out.display(),
        names(&out)?.iter().map(|name| format!("  {name}")).collect::<Vec<_>>().join("\n"),
    ));
    Ok(())
}

/// Builds the wheels into `out`.
fn wheels(repo: &Repo, python: &Path, options: &Options, out: &Path) -> Result<()> {
    for manifest in WHEELS {
        agentkit::wheel(repo, python, manifest, options.profile(), out)?;
    }
    Ok(())
}

/// The binary with all that belongs beside it.
fn tarball(repo: &Repo, options: &Options, out: &Path) -> Result<()> {
    let profile = options.profile();
    repo::succeed(repo.cargo().args(["build", "--locked", "--package", "signalbox", "--profile", profile]))?;
    let binary = target(repo).join(options.folder()).join("signalbox");
    let name = format!("signalbox-{}-{}", version(&binary)?, host()?);
    let root = out.join(&name);
    put(&binary, &root.join("bin/signalbox"))?;
    for (from, to) in COPIED {
        put(&repo.path(from), &root.join(to))?;
    }
    for (shell, file) in SHELLS {
        write(&root.join("completions").join(file), &answer(&binary, &["completions", shell])?)?;
    }
    write(&root.join("signalbox.toml"), &answer(&binary, &["init", "-"])?)?;
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--gzip").arg("--owner=0").arg("--group=0");
    tar.arg("--file").arg(out.join(format!("{name}.tar.gz"))).arg("--directory").arg(out).arg(&name);
    repo::succeed(&mut tar)?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))
}

/// What the tests do with it: both wheels into a fresh environment, without an index, and the demo from there.
///
/// # Errors
/// A wheel cannot be installed, or what was installed does not work.
pub(crate) fn try_out(repo: &Repo, python: &Path) -> Result<()> {
    let place = repo.path("target/dist-tried");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot empty {}", place.display()))?;
    }
    let (out, environment, folder) = (place.join("dist"), place.join("venv"), place.join("folder"));
    wheels(repo, python, &Options { dev: true }, &out)?;
    repo::succeed(Command::new(python).args(["-m", "venv"]).arg(&environment))?;
    let program = |name: &str| environment.join("bin").join(name);
    let wheels = names(&out)?.into_iter().map(|name| out.join(name));
    repo::succeed(
        Command::new(program("pip")).args(["install", "--quiet", "--no-index", "--no-deps"]).args(wheels),
    )?;
    let import = "import agentkit, agentkit.sdk.client; agentkit.Agent('shouter')";
    repo::succeed(Command::new(program("python")).args(["-c", import]))?;
    for name in ["one.md", "two.md", "three.txt"] {
        write(&folder.join(name), "# A title\n\nSome words, and [a link](one.md).\n")?;
    }
    let demo = Command::new(program("signalbox")).args(["demo", "--plain", "--fast"]).arg(&folder).output();
    let demo = demo.context("cannot start the demo of the wheel")?;
    if !demo.status.success() {
        bail!("the wheel's demo failed with {}: {}", demo.status, String::from_utf8_lossy(&demo.stderr));
    }
    fs::remove_dir_all(&place).with_context(|| format!("cannot remove {}", place.display()))
}

/// One line for each file, as `sha256sum --check` reads it.
fn sums(out: &Path) -> Result<()> {
    let mut command = Command::new("sha256sum");
    let done = command.args(names(out)?).current_dir(out).output().context("cannot start sha256sum")?;
    if !done.status.success() {
        bail!("sha256sum failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    fs::write(out.join("SHA256SUMS"), done.stdout).context("cannot write SHA256SUMS")
}

/// The files of a folder, in order.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Cargo's folder of what it builds.
fn target(repo: &Repo) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repo.path("target"), PathBuf::from)
}

/// The version as the binary tells it: the last word of `signalbox --version`.
fn version(binary: &Path) -> Result<String> {
    let told = answer(binary, &["--version"])?;
    told.split_whitespace().last().map(str::to_owned).context("the binary tells no version")
}

/// The machine that this compiler builds for.
fn host() -> Result<String> {
    let told = answer(Path::new("rustc"), &["--version", "--verbose"])?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc tells no host")
}

fn answer(program: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    let shown = repo::shown(command.args(args));
    let done = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        bail!("`{shown}` failed with {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    }
    String::from_utf8(done.stdout).with_context(|| format!("`{shown}` did not print text"))
}

fn put(from: &Path, to: &Path) -> Result<()> {
    make_room(to)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    make_room(path)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn make_room(path: &Path) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_that_of_users_unless_told_otherwise() {
        let parse =
            |line: &str| Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(parse("").unwrap().profile(), "release");
        assert_eq!(parse("--dev").unwrap().folder(), "debug");
        assert_eq!(parse("--fast"), None);
    }

    #[test]
    fn what_is_copied_and_made_into_wheels_is_there() {
        let repo = Repo::find().unwrap();
        for path in COPIED.iter().map(|(from, _)| *from).chain(WHEELS) {
            assert!(repo.path(path).is_file(), "{path}");
        }
    }
    #[test]
    fn deployments_set_only_variables_that_there_are() {
        let repo = Repo::find().unwrap();
        let settings = repo.read("docs/reference/configuration.md").unwrap();
        // What a build is told stands with the build.
        let build = repo.read("crates/signalbox/build.rs").unwrap();
        let is_part = |c: char| c.is_ascii_uppercase() || c == '_';
        let mut seen = 0;
        for path in repo.files().unwrap().iter().filter(|path| path.starts_with("deploy/")) {
            let text = repo.read(path).unwrap();
            for (at, _) in text.match_indices("SIGNALBOX_") {
                let name: String = text[at..].chars().take_while(|c| is_part(*c)).collect();
                // `SIGNALBOX_$name` and `SIGNALBOX_…` stand for several.
                if name == "SIGNALBOX_" {
                    continue;
                }
                let is_known =
                    settings.contains(&format!("`{name}`")) || build.contains(&format!("\"{name}\""));
                assert!(is_known, "{path} sets {name}");
                seen += 1;
            }
        }
        assert!(seen > 5, "only {seen} were found");
    }
}
