//! How an agent stands: what it has in hand, and what keeps work from it. Pure.

use serde_json::Value;
use signalbox_client::Timestamp;

use super::moments::age;

/// How an agent stands, for whoever looks after it: what keeps work from it first, then its work.
pub(crate) fn standing(agent: &Value) -> String {
    let held = agent["activeTasks"].as_u64().unwrap_or_default();
    let load = if held > 0 { format!(" {held}/{}", agent["concurrency"]) } else { String::new() };
    let failure = &agent["deliveryFailure"];
    let said = agent["state"].as_str().map(str::to_lowercase).unwrap_or_default();
    match said.as_str() {
        _ if agent["draining"] == true => format!("draining{load}"),
        _ if agent["presence"] == "offline" => "offline".to_owned(),
        _ if failure["status"].is_u64() => format!("answers {}", failure["status"]),
        _ if failure.is_object() => "unreachable".to_owned(),
        _ if held > 0 => format!("busy{load}"),
        _ if agent["available"] == true => "idle".to_owned(),
        "busy" | "active" => "busy".to_owned(),
        "offline" => "offline".to_owned(),
        _ => "unavailable".to_owned(),
    }
}

/// What an agent last said of itself, and how long ago.
pub(crate) fn report(word: String, agent: &Value, now: Timestamp) -> String {
    match moment(&agent["reportedAt"]) {
        Some(at) => format!("{word}, {}", age(at, now)),
        None => word,
    }
}

/// What an agent has in hand, and what becomes of it where nothing is heard of it any more; nothing where it has nothing.
pub(crate) fn holding(agent: &Value, now: Timestamp) -> Option<String> {
    let held = agent["activeTasks"].as_u64().filter(|held| *held > 0)?;
    let tasks = if held == 1 { "1 task".to_owned() } else { format!("{held} tasks") };
    let word = moment(&agent["lastSeen"]).map_or_else(|| "none".to_owned(), |at| age(at, now));
    let limits = agent["heldTasks"].as_array().into_iter().flatten();
    let first = limits.filter_map(|task| moment(&task["timesOutAt"])).min();
    let which = if held == 1 { "" } else { "the first " };
    let again = match first {
        Some(at) => format!("{which}given out again at {} (timeout), or", clock(at)),
        None => "given out again".to_owned(),
    };
    Some(format!("{tasks}; last word {word}; {again} when it registers anew"))
}

fn moment(value: &Value) -> Option<Timestamp> {
    Timestamp::parse(value.as_str()?).ok()
}

/// A moment of these days, to the second.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    format!("{} UTC", text.get(11..19).unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_keeps_work_from_an_agent_is_told_first() {
        for (agent, expected) in [
            (json!({"available": true, "state": "completed"}), "idle"),
            (json!({"activeTasks": 1, "concurrency": 2, "available": true}), "busy 1/2"),
            (json!({"activeTasks": 1, "concurrency": 1, "draining": true}), "draining 1/1"),
            (json!({"draining": true, "presence": "offline"}), "draining"),
            (json!({"presence": "offline", "activeTasks": 1, "concurrency": 1}), "offline"),
            (json!({"deliveryFailure": {"error": "Connection refused"}, "available": true}), "unreachable"),
            (json!({"deliveryFailure": {"status": 422}, "available": true}), "answers 422"),
            (json!({"state": "Busy", "available": false}), "busy"),
            (json!({"state": "initializing", "available": false}), "unavailable"),
        ] {
            assert_eq!(standing(&agent), expected, "{agent}");
        }
    }

    #[test]
    fn what_is_in_hand_is_told_with_what_becomes_of_it() {
        let now = Timestamp::from_seconds(100);
        let mut agent = json!({"activeTasks": 0});
        assert_eq!(holding(&agent, now), None);
        agent = json!({"activeTasks": 1, "lastSeen": "1970-01-01T00:00:59Z",
                       "heldTasks": [{"timesOutAt": "1970-01-01T00:15:00Z"}]});
        assert_eq!(
            holding(&agent, now).unwrap(),
            "1 task; last word 41s ago; given out again at 00:15:00 UTC (timeout), or when it registers anew"
        );
        agent["activeTasks"] = json!(2);
        assert!(
            holding(&agent, now)
                .unwrap()
                .contains("2 tasks; last word 41s ago; the first given out again at")
        );
    }
}
