//! The Restate server, to compare sessions with: installed from npm below the target folder, with the same job as
//! services of its own, and nothing changed in its configuration but addresses and the number of partitions.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;

use crate::context::home;
use crate::environment::Fact;
use crate::load::{self, Extent, Plan, Template};
use crate::process::{Launch, Process, ReadyOn};
use crate::server::listening_on;
use crate::{clock, requests};

const PACKAGE: &str = "@restatedev/restate-server@1.7.12";
const READY_WITHIN: Duration = Duration::from_secs(60);
const REGISTERED_WITHIN: Duration = Duration::from_secs(30);
const WARM_UP_JOBS: u64 = 500;
const WARM_UP_CONNECTIONS: usize = 24;
const POLL: Duration = Duration::from_millis(50);

/// What a step of the job is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Steps {
    /// A function inside the service that has the job.
    Inside,
    /// A call of another service, which is a process and a deployment of its own.
    Called,
}

impl Steps {
    /// The services that take part, by their names for the program: who is given the job is the first.
    fn services(self) -> &'static [&'static str] {
        match self {
            Self::Inside => &["flow"],
            Self::Called => &["flow", "worker"],
        }
    }
}

/// Where the two programs are.
pub(crate) struct Programs {
    server: PathBuf,
    service: PathBuf,
}

/// A running server and the services that it calls.
pub(crate) struct Restate {
    pub(crate) server: Process,
    pub(crate) services: Vec<Process>,
    steps: Steps,
    /// Where jobs are handed in.
    pub(crate) ingress: SocketAddr,
}

impl Programs {
    /// Installs the server and builds the services, where that has not been done.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        let target = target()?;
        Ok(Self {
            server: install(&target.join("restate"))?,
            service: build(&target.join("restate-service"))?,
        })
    }

    /// Starts a server on `folder` with so many partitions, or its own number, and lets it know the services.
    pub(crate) async fn start(
        &self,
        folder: &Path,
        partitions: Option<u32>,
        steps: Steps,
    ) -> anyhow::Result<Restate> {
        std::fs::create_dir_all(folder)?;
        let mut services = Vec::new();
        for name in steps.services() {
            services.push(self.start_service(name, folder).await?);
        }
        let (ingress, admin) = (free_addr()?, free_addr()?);
        let mut command = Command::new(&self.server);
        command.args([
            "--no-logo",
            "--listen-mode",
            "tcp",
            "--bind-ip",
            "127.0.0.1",
            "--use-random-ports",
            "true",
        ]);
        command.arg("--base-dir").arg(folder.join("data")).current_dir(folder);
        command.env("RESTATE_INGRESS__BIND_ADDRESS", ingress.to_string());
        command.env("RESTATE_ADMIN__BIND_ADDRESS", admin.to_string());
        command.env("RESTATE_DISABLE_TELEMETRY", "true").env("RESTATE_LOG_DISABLE_ANSI_CODES", "true");
        if let Some(partitions) = partitions {
            command.env("RESTATE_DEFAULT_NUM_PARTITIONS", partitions.to_string());
        }
        let server = Process::start(Launch {
            name: "the Restate server",
            command,
            ready_on: ReadyOn::Stdout,
            ready_mark: "admin-api-server",
            within: READY_WITHIN,
            log: folder.join("restate.log"),
            stop_signal: Signal::TERM,
        })
        .await?;
        let restate = Restate { server, services, steps, ingress };
        restate.register(admin).await?;
        restate.warm_up().await?;
        Ok(restate)
    }

    async fn start_service(&self, name: &str, folder: &Path) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.service);
        command.arg(name);
        Process::start(Launch {
            name: &format!("the Restate service {name}"),
            command,
            ready_on: ReadyOn::Stdout,
            ready_mark: "listening on http://",
            within: READY_WITHIN,
            log: folder.join(format!("service-{name}.log")),
            stop_signal: Signal::INT,
        })
        .await
    }

    /// What decides whether a step is durable, as the server itself states it.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        let output = Command::new(&self.server).arg("--dump-config").stdin(Stdio::null()).output();
        let text =
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let wanted = [
            "rocksdb-disable-wal-fsync",
            "default-provider",
            "default-num-partitions",
            "default-journal-retention",
        ];
        let mut lines: Vec<&str> =
            text.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name))).collect();
        lines.sort_unstable();
        lines.dedup();
        vec![Fact::new("Restate, package", PACKAGE), Fact::new("Restate, its defaults", lines.join("; "))]
    }
}

impl Restate {
    /// Makes the services known. The server takes a while after it listens until it can do that.
    async fn register(&self, admin: SocketAddr) -> anyhow::Result<()> {
        let deadline = clock::now() + REGISTERED_WITHIN;
        for service in &self.services {
            let body = format!(r#"{{"uri":"http://{}"}}"#, listening_on(&service.ready_line)?);
            register_one(admin, &body, deadline).await?;
        }
        Ok(())
    }

    /// The job of so many steps.
    pub(crate) fn job(&self, tasks: u32) -> anyhow::Result<Template> {
        match self.steps {
            Steps::Inside => requests::restate("tasks", tasks),
            Steps::Called => requests::restate("calls", tasks),
        }
    }

    /// Its first jobs wait for partitions that find their leaders: that is no part of what is measured.
    async fn warm_up(&self) -> anyhow::Result<()> {
        let plan = Plan {
            addr: self.ingress,
            others: Vec::new(),
            template: Arc::new(self.job(1)?),
            connections: WARM_UP_CONNECTIONS,
            threads: 1,
            extent: Extent::Count(WARM_UP_JOBS),
            first_ticket: 0,
            pick: None,
            ends: None,
        };
        let outcome = load::run(&plan).await?;
        ensure!(
            outcome.succeeded == WARM_UP_JOBS,
            "Restate's first jobs failed: {:?}",
            outcome.fault_lines()
        );
        Ok(())
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.server.stop().await?;
        for service in self.services {
            service.stop().await?;
        }
        Ok(())
    }
}

async fn register_one(admin: SocketAddr, body: &str, deadline: Instant) -> anyhow::Result<()> {
    loop {
        match load::call(admin, "POST", "/deployments", Some(body)).await {
            Ok(_) => return Ok(()),
            Err(error) if clock::now() > deadline => {
                return Err(error.context("the Restate server did not take a service"));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The folder that this program was built into.
fn target() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program cannot tell where it is")?;
    Ok(own.ancestors().nth(2).context("this program is not in a target folder")?.to_owned())
}

fn install(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let mut command = Command::new("npm");
    command
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"])
        .arg(folder)
        .arg(PACKAGE);
    checked(command, "npm, which installs the Restate server,")?;
    let packages = std::fs::read_dir(folder.join("node_modules/@restatedev"))?;
    let programs = packages.flatten().map(|package| package.path().join("bin/restate-server"));
    let mut found = programs.filter(|path| path.is_file());
    found.next().with_context(|| format!("{PACKAGE} has no program for this machine"))
}

fn build(target: &Path) -> anyhow::Result<PathBuf> {
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(home().join("restate/Cargo.toml"));
    command.arg("--target-dir").arg(target);
    checked(command, "cargo, which builds the Restate services,")?;
    Ok(target.join("release/bench-restate"))
}

fn checked(mut command: Command, who: &str) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{who} did not start"))?;
    if !output.status.success() {
        bail!("{who} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
