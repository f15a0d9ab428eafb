//! A full disk: writes are refused and say when to come back, reads go on, and it heals by itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Database, Server, Setup, eventually};

/// More than the database needs to start, little enough to fill at once.
const SIZE: &str = "size=16m";
const TRIES_MAX: usize = 2_000;

/// A small file system of its own, which goes with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where the machine does not let the tests mount one.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&at).output();
        mount.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        for size in [64 * 1024, 512] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn registration(name: &str) -> Value {
    let filler = "x".repeat(16 * 1024);
    json!({"agentName": name, "version": "1", "contactEndpoint": "http://127.0.0.1:9/run", "capabilities": [],
           "metadata": {"filler": filler}})
}

#[test]
fn a_full_disk_refuses_writes_and_heals_by_itself() {
    // Dropped in reverse: the server, its disk, and the folder that the disk is mounted in.
    let setup = Setup::new(&Database::sqlite());
    let Some(disk) = SmallDisk::mount(setup.dir().join("disk")) else {
        eprintln!("not run, as no file system can be mounted here: a full disk");
        return;
    };
    let mut server = setup.clone().data_dir(Some(disk.path().join("data"))).start();
    let first = server.register_at("first", "http://127.0.0.1:9/run", &[]);
    server.report(&first, "idle", &json!({"n": 1}));
    disk.fill();
    let mut kept = register_until_refused(&server);

    for _ in 0..20 {
        server.post("/v1/agents/register", &registration("too much")).problem(503);
        assert_eq!(server.get(&format!("/v1/agents/{first}")).is(200)["data"]["agentName"], "first");
        assert_eq!(server.get(&format!("/v1/opscore/agent/{first}/state")).is(200)["details"]["n"], 1);
        server.get("/v1/agents?limit=10").is(200);
        server.get("/health").is(200);
    }

    disk.free();
    kept.push(eventually("a write that is accepted again", || {
        let answer = server.post("/v1/agents/register", &registration("after"));
        match answer.status {
            201 => Ok(answer.is(201)["data"]["agentId"].as_str().unwrap().to_owned()),
            _ => Err(answer.shown()),
        }
    }));
    server.report(&first, "idle", &json!({"n": 2}));
    server.get("/ready").is(200);
    server.kill();
    server.restart();
    for id in &kept {
        server.get(&format!("/v1/agents/{id}")).is(200);
    }
    assert_eq!(server.get(&format!("/v1/opscore/agent/{first}/state")).is(200)["details"]["n"], 2);
}

/// What was acknowledged before the first refusal.
fn register_until_refused(server: &Server) -> Vec<String> {
    let mut kept = Vec::new();
    for n in 0..TRIES_MAX {
        let answer = server.post("/v1/agents/register", &registration(&format!("agent {n}")));
        if answer.status == 503 {
            answer.problem(503);
            return kept;
        }
        kept.push(answer.is(201)["data"]["agentId"].as_str().unwrap().to_owned());
    }
    panic!("{TRIES_MAX} registrations fitted on a full disk");
}
