//! Follows a plan: one folder, one `bash -e`, one server, and everything that they start ended with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use super::compare::compare;
use super::plan::{Plan, Shell, Step, What};
use super::{WITH_AGENTKIT, root};
use crate::support::within;

/// How long a page may take; far more than a reader's commands need on a busy machine.
const PAGE: Duration = Duration::from_secs(240);
/// Below what the system gives to outgoing connections, so that nothing else takes one in between.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What is true for every page, before its own commands.
const PRELUDE: &str = r#"
set -e -o pipefail
cd "$PAGE_FOLDER"
await() { # SECONDS COMMAND…: until it succeeds
  local until=$((SECONDS + $1)); shift
  until "$@" > /dev/null 2>&1; do
    [ $SECONDS -lt $until ] || { echo "waited in vain for: $*" >&2; return 1; }
    sleep 0.05
  done
}
page_stop() {
  [ -z "$PAGE_SERVER" ] || { kill "$PAGE_SERVER"; wait "$PAGE_SERVER" || true; }
  PAGE_SERVER= PAGE_SERVED=
}
page_serve() {
  [ "serve $*" != "$PAGE_SERVED" ] || return 0
  page_stop
  env -u SIGNALBOX_URL -u SIGNALBOX_API_KEY -u OPSCORE_API_KEY "$PAGE_FOLDER/.page/bin/signalbox" \
    serve --listen "127.0.0.1:$PAGE_PORT" "$@" > "$PAGE_FOLDER/.page/server.out" 2>> "$PAGE_FOLDER/.page/server.err" &
  PAGE_SERVER=$! PAGE_SERVED="serve $*"
  await 60 grep -q 'signalbox listening on' "$PAGE_FOLDER/.page/server.out"
}
page_kill() { # the last program that was left running
  kill -9 $(pgrep -P "$PAGE_BACKGROUND") "$PAGE_BACKGROUND"
}
page_serve
export SIGNALBOX_URL="http://127.0.0.1:$PAGE_PORT" SIGNALBOX_API_KEY=$(cat signalbox-data/admin.key)
export OPSCORE_API_KEY=$SIGNALBOX_API_KEY
"#;

/// An HTTP error is a failure; a stream that was to end by its time is none.
const CURL: &str = "curl --fail-with-body \"$@\"; code=$?; [ $code -ne 28 ] || code=0; exit $code";

/// Follows it; what went wrong, if anything.
pub(super) fn run(plan: &Plan) -> Vec<String> {
    let folder = tempfile::Builder::new().prefix("signalbox-page-").tempdir().expect("a folder");
    let page = Page { folder, ports: ports(plan) };
    page.prepare(plan);
    let mut bash = Bash::start(&page);
    let outcome = bash.wait();
    drop(bash);
    let mut faults = page.compare(plan);
    if !matches!(outcome, Some(0)) {
        faults.push(page.stopped(plan, outcome));
    }
    if page.read("server.err").contains("panicked") {
        faults.push(format!("the server panicked:\n{}", page.read("server.err")));
    }
    faults
}

struct Page {
    folder: TempDir,
    /// A free one for each port of this machine that the page names.
    ports: BTreeMap<String, u16>,
}

impl Page {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(".page").join(name)
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file of the page");
    }

    fn prepare(&self, plan: &Plan) {
        let folder = self.folder.path();
        for name in [".page/bin", "home", "target/release"] {
            fs::create_dir_all(folder.join(name)).expect("a folder of the page");
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_signalbox"));
        symlink(binary, folder.join("target/release/signalbox")).expect("a link");
        symlink(binary, self.path("bin/signalbox")).expect("a link");
        symlink(root().join("examples"), folder.join("examples")).expect("a link");
        let path = std::env::var("PATH").unwrap_or_default();
        self.program("curl", &format!("PATH='{path}'\n{CURL}"));
        if let Ok(python) = std::env::var(WITH_AGENTKIT) {
            self.program("python3", &format!("exec '{python}' \"$@\""));
            self.program("python", &format!("exec '{python}' \"$@\""));
        }
        self.write("run.sh", &self.script(plan));
    }

    fn program(&self, name: &str, text: &str) {
        let name = format!("bin/{name}");
        self.write(&name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(&name), fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// Everything that bash does, each step's text in a file of its own.
    fn script(&self, plan: &Plan) -> String {
        let mut script = PRELUDE.to_owned();
        let mut last = String::new();
        for (number, Step { what, .. }) in plan.steps.iter().enumerate() {
            let current = format!("echo {number} > .page/current\n");
            match what {
                What::Run(shell) => {
                    self.write(&number.to_string(), &self.with_own_ports(&shell.text));
                    script.push_str(&current);
                    script.push_str(&commands(number, shell));
                }
                What::File { name, text } => {
                    self.write(&number.to_string(), &self.with_own_ports(text));
                    script.push_str(&format!("{current}cp .page/{number} '{name}'\n"));
                }
                What::Compile(text) => {
                    self.write(&number.to_string(), text);
                    let check = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')";
                    script.push_str(&format!(
                        "{current}python3 -c \"{check}\" .page/{number} 2> .page/{number}.err\n"
                    ));
                }
                What::Workflow(text) => {
                    self.write(&number.to_string(), text);
                    last.push_str(&current);
                    // It has to be one, without a key that is not known.
                    let out = format!("> .page/{number}.out 2> .page/{number}.err");
                    last.push_str(&format!("signalbox workflows apply .page/{number} {out}\n"));
                }
            }
        }
        script.push_str(&last);
        script.push_str("page_stop\n");
        script
    }

    fn with_own_ports(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (port, own) in &self.ports {
            for before in ["127.0.0.1:", "127.0.0.1\", ", "localhost:"] {
                text = text.replace(&format!("{before}{port}"), &format!("{before}{own}"));
            }
        }
        text
    }

    fn with_the_pages_ports(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (port, own) in &self.ports {
            text = text.replace(&own.to_string(), port);
        }
        text
    }

    /// Of the commands that were run, what they printed against what the page says.
    fn compare(&self, plan: &Plan) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, Step { line, what }) in plan.steps.iter().enumerate() {
            let What::Run(shell) = what else { continue };
            if !self.path(&format!("{number}.done")).exists() {
                continue;
            }
            let (out, err) = (self.read(&format!("{number}.out")), self.read(&format!("{number}.err")));
            let printed = self.with_the_pages_ports(if out.trim().is_empty() { &err } else { &out });
            for (language, expected) in &shell.expected {
                let fault = compare(language, expected, &printed);
                faults.extend(fault.map(|fault| format!("line {line}: {fault}")));
            }
        }
        faults
    }

    fn stopped(&self, plan: &Plan, code: Option<i32>) -> String {
        let current = self.read("current").trim().to_owned();
        let step = current.parse::<usize>().ok().and_then(|number| plan.steps.get(number));
        let line = step.map_or_else(|| "at the start".to_owned(), |step| format!("line {}", step.line));
        let how =
            code.map_or_else(|| format!("not over within {PAGE:?}"), |code| format!("ended with {code}"));
        let tail = |name: &str| {
            let text = self.read(name);
            let from = text.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
            text[from..].to_owned()
        };
        format!(
            "{line}: {how}\n--- commands\n{}--- printed\n{}--- told\n{}{}--- the server's log\n{}",
            tail(&current),
            tail(&format!("{current}.out")),
            tail(&format!("{current}.err")),
            tail("bash.err"),
            tail("server.err"),
        )
    }
}

fn commands(number: usize, shell: &Shell) -> String {
    let out = format!("> .page/{number}.out 2> .page/{number}.err");
    let mut script = String::new();
    if let Some(when) = &shell.when {
        script.push_str(&format!("page_when() {{ {when}; }}\nawait 60 page_when 2> .page/{number}.err\n"));
    }
    match &shell.background {
        Some(until) => script.push_str(&format!(
            "( set -e; . .page/{number} ) > .page/{number}.out 2>&1 &\nPAGE_BACKGROUND=$! PAGE_PRINTED=.page/{number}.out\n\
             await 60 grep -qF -e '{until}' .page/{number}.out 2> .page/{number}.err\n"
        )),
        None if shell.code != 0 => script.push_str(&format!(
            "set +e\n( set -e; . .page/{number} ) {out}\ncode=$?\nset -e\n[ $code -eq {} ]\n",
            shell.code
        )),
        None => script.push_str(&format!("{{ . .page/{number}; }} {out}\n")),
    }
    script.push_str(&format!("touch .page/{number}.done\n"));
    script
}

/// A port for each that the page's commands and files name, the server's among them.
fn ports(plan: &Plan) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::from([("8000".to_owned(), free_port())]);
    for step in &plan.steps {
        let text = match &step.what {
            What::Run(shell) => &shell.text,
            What::File { text, .. } => text,
            What::Compile(_) | What::Workflow { .. } => continue,
        };
        for before in ["127.0.0.1:", "127.0.0.1\", ", "localhost:"] {
            for rest in text.split(before).skip(1) {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if port.len() >= 4 {
                    ports.entry(port).or_insert_with(free_port);
                }
            }
        }
    }
    ports
}

fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 11_000).unwrap_or_default();
    let candidates =
        std::iter::repeat_with(|| PORTS.start + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    candidates.take(PORTS.len()).find(free).expect("a free port")
}

/// The shell of a page, and whatever it has started.
struct Bash(Child);

impl Bash {
    fn start(page: &Page) -> Self {
        let folder = page.folder.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let told = File::create(page.path("bash.err")).expect("a file");
        let child = Command::new("bash")
            .arg(page.path("run.sh"))
            .env_clear()
            .env("HOME", folder.join("home"))
            .env("PATH", format!("{}:{path}", page.path("bin").display()))
            .env("PAGE_FOLDER", folder)
            .env("PAGE_PORT", page.ports["8000"].to_string())
            .env("PYTHONUNBUFFERED", "1")
            .env("LANG", "C.UTF-8")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(told.try_clone().expect("the same file"))
            .stderr(told)
            .process_group(0)
            .spawn()
            .expect("bash runs");
        Self(child)
    }

    /// With which code it ended, or `None` where it did not in time.
    fn wait(&mut self) -> Option<i32> {
        let child = &mut self.0;
        let start = crate::support::now().instant;
        within(PAGE + Duration::from_secs(60), "the page to end", || match child.try_wait() {
            Ok(Some(status)) => Ok(Some(status.code().unwrap_or(-1))),
            _ if start.elapsed() > PAGE => Ok(None),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.0.wait();
    }
}
