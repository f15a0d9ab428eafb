//! The rooms of a crate: each file is in one, and uses files of its own room and of those below.
//!
//! Some stand side by side and are strangers to each other all the same: two surfaces, two databases.

use anyhow::Result;

use super::known::{Known, Rule};
use super::modules::Use;
use super::{Fault, Project};

/// The order of one crate.
struct House {
    folder: &'static str,
    /// From the top to the bottom. A folder ends with `/`; the rooms of one line stand side by side.
    rooms: &'static [&'static [&'static str]],
    /// Folders, or modules, that do not know each other. One that ends with `/` stands for every folder in it.
    strangers: &'static [&'static str],
}

const HOUSES: [House; 3] = [
    House {
        folder: "crates/signalbox-server/src/",
        rooms: &[
            &["lib.rs"],
            &["server.rs", "address_file.rs", "backup.rs", "drain.rs", "lock.rs"],
            &["surfaces.rs"],
            &["surface/"],
            &["jobs/"],
            &["live/"],
            &["tools/"],
            &["transport/"],
            &["engine/"],
            &["http/"],
            &["auth/", "egress/", "config/", "telemetry/"],
            &["quota/"],
            &["byte_budget.rs", "clock.rs", "clock/"],
        ],
        strangers: &["surface/"],
    },
    House {
        folder: "crates/signalbox-store/src/",
        rooms: &[&["lib.rs"], &["store.rs", "store/"], &["postgres/", "sqlite/"], &[REST]],
        strangers: &["postgres", "sqlite"],
    },
    House {
        folder: "crates/signalbox-wire/src/",
        rooms: &[&["lib.rs"], &WIRE_SURFACES, &[REST]],
        strangers: &["agentkit", "artcafe", "opscore", "process"],
    },
];

/// What each surface says, and what the process does beside them.
const WIRE_SURFACES: [&str; 8] = [
    "agentkit.rs",
    "agentkit/",
    "artcafe.rs",
    "artcafe/",
    "opscore.rs",
    "opscore/",
    "process.rs",
    "process/",
];

/// A room for all files that have no other.
const REST: &str = "*";

/// Looks at every file of the crates that have an order.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut homeless = Known::load(project, Rule::Room)?;
    let mut upward = Known::load(project, Rule::Arrow)?;
    let mut faults = Vec::new();
    for house in &HOUSES {
        for one in project.crates.iter().filter(|one| one.folder == house.folder) {
            let outside = one.files.iter().filter_map(|path| house.outside(path, &mut homeless));
            faults.extend(outside);
            faults.extend(one.uses.iter().filter_map(|one| house.forbidden(one, &mut upward)));
        }
    }
    faults.extend(homeless.settle(project)?);
    faults.extend(upward.settle(project)?);
    Ok(faults)
}

impl House {
    /// The room of a file, counted from the top, and its name.
    fn room_of(&self, path: &str) -> Option<(usize, &'static str)> {
        let file = path.strip_prefix(self.folder)?;
        let holds = |room: &str| match room {
            REST => true,
            folder if folder.ends_with('/') => file.starts_with(folder),
            own => file == own,
        };
        let found = |(at, rooms): (usize, &&[&'static str])| {
            rooms.iter().find(|room| holds(room)).map(|room| (at, *room))
        };
        self.rooms.iter().enumerate().find_map(found)
    }

    fn outside(&self, path: &str, known: &mut Known) -> Option<Fault> {
        let message =
            "is in no room of its crate; move it into one, or add its room to xtask/src/tidy/rooms.rs";
        (self.room_of(path).is_none() && !known.has(path)).then(|| Fault::new(path, 1, message))
    }

    /// A use that goes up, or to a stranger.
    fn forbidden(&self, one: &Use, known: &mut Known) -> Option<Fault> {
        let ((from, from_room), (to, to_room)) = (self.room_of(&one.from)?, self.room_of(&one.to)?);
        let target = &one.to;
        let message = if to < from {
            format!(
                "uses {target}, and {to_room} is above {from_room}; move what is used down, or pass it in as an argument"
            )
        } else if let (Some(own), Some(other)) = (self.stranger(&one.from), self.stranger(&one.to))
            && own != other
        {
            format!(
                "uses {target}, and {own} and {other} do not know each other; move what both need below both"
            )
        } else {
            return None;
        };
        let arrow = format!("{} → {}", one.from, one.to);
        (!known.has(&arrow)).then(|| Fault::new(&one.from, one.line, message))
    }

    /// Which of the folders that do not know each other a file is in.
    fn stranger<'p>(&self, path: &'p str) -> Option<&'p str> {
        let file = path.strip_prefix(self.folder)?;
        self.strangers.iter().find_map(|one| {
            if one.ends_with('/') {
                return file.strip_prefix(one)?.split_once('/').map(|(name, _)| name);
            }
            let after = file.strip_prefix(one)?;
            (after == ".rs" || after.starts_with('/')).then(|| &file[..one.len()])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(house: &House, from: &str, to: &str, known: &str) -> Option<String> {
        let (from, to) = (format!("{}{from}", house.folder), format!("{}{to}", house.folder));
        let one = Use { from, to, line: 3 };
        house.forbidden(&one, &mut Known::parse(known, Rule::Arrow)).map(|fault| fault.to_string())
    }

    #[test]
    fn a_use_may_go_down_and_along() {
        for (from, to) in [
            ("server.rs", "jobs/mod.rs"),
            ("jobs/deliver.rs", "engine/drive.rs"),
            ("auth/mod.rs", "config/mod.rs"),
            ("surface/opscore/a/b.rs", "surface/opscore/c.rs"),
            ("surface/mod.rs", "surface/opscore/c.rs"),
            ("surface/opscore/c.rs", "surface/mod.rs"),
        ] {
            assert_eq!(found(&HOUSES[0], from, to, ""), None, "{from} → {to}");
        }
        assert_eq!(found(&HOUSES[1], "sqlite/due.rs", "backend.rs", ""), None);
    }

    #[test]
    fn a_use_may_not_go_up_or_to_a_stranger() {
        let [server, store, wire] = &HOUSES;
        let up = "crates/signalbox-server/src/http/edge.rs:3: uses crates/signalbox-server/src/surface/mod.rs, and \
                  surface/ is above http/; move what is used down, or pass it in as an argument";
        assert_eq!(found(server, "http/edge.rs", "surface/mod.rs", "").as_deref(), Some(up));
        assert!(found(store, "backend.rs", "sqlite/mod.rs", "").is_some());
        let beside = "crates/signalbox-server/src/surface/agentkit/run.rs:3: uses \
                      crates/signalbox-server/src/surface/opscore/mod.rs, and agentkit and opscore do not know each \
                      other; move what both need below both";
        let run = "surface/agentkit/run.rs";
        assert_eq!(found(server, run, "surface/opscore/mod.rs", "").as_deref(), Some(beside));
        assert!(found(store, "sqlite/due.rs", "postgres/mod.rs", "").is_some());
        assert!(found(wire, "agentkit.rs", "opscore/agent.rs", "").is_some());
        assert_eq!(found(wire, "agentkit/tool.rs", "agentkit.rs", ""), None);
    }

    #[test]
    fn a_known_use_passes() {
        let folder = HOUSES[0].folder;
        let known = format!("arrow {folder}http/edge.rs → {folder}surface/mod.rs");
        assert_eq!(found(&HOUSES[0], "http/edge.rs", "surface/mod.rs", &known), None);
    }

    #[test]
    fn a_file_outside_of_all_rooms_is_found() {
        let outside = |house: &House, file: &str| {
            let path = format!("{}{file}", house.folder);
            house.outside(&path, &mut Known::parse("", Rule::Room)).is_some()
        };
        assert!(outside(&HOUSES[0], "app.rs"));
        assert!(outside(&HOUSES[0], "surfaces/deep.rs"));
        assert!(!outside(&HOUSES[0], "live/presence.rs"));
        assert!(!outside(&HOUSES[1], "cache.rs"));
    }
}
