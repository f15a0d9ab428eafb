//! What differs between two JSON values, place by place.

use serde_json::Value;
use signalbox_wire::opscore::{Change, Difference};

/// Differences that are listed, at most.
pub(crate) const DIFFERENCES_MAX: usize = 1_000;

/// The differences of `to` against `from`, and whether there are more than are listed.
pub fn differences(from: &Value, to: &Value) -> (Vec<Difference>, bool) {
    let mut found = Found::default();
    found.compare("", from, to);
    (found.listed, found.has_more)
}

#[derive(Default)]
struct Found {
    listed: Vec<Difference>,
    has_more: bool,
}

impl Found {
    fn compare(&mut self, path: &str, from: &Value, to: &Value) {
        match (from, to) {
            (Value::Object(old), Value::Object(new)) => {
                for (name, value) in old {
                    let path = at(path, name);
                    match new.get(name) {
                        Some(other) => self.compare(&path, value, other),
                        None => self.add(Change::Remove, path, Some(value), None),
                    }
                }
                for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                    self.add(Change::Add, at(path, name), None, Some(value));
                }
            }
            (Value::Array(old), Value::Array(new)) => self.compare_lists(path, old, new),
            _ if from == to => {}
            _ => self.add(Change::Replace, path.to_owned(), Some(from), Some(to)),
        }
    }

    /// What both lists begin and end with is the same; between the two, item stands against item, and what one list
    /// has more was added or removed.
    fn compare_lists(&mut self, path: &str, old: &[Value], new: &[Value]) {
        let first = old.iter().zip(new).take_while(|(old, new)| same_item(old, new)).count();
        let (old_rest, new_rest) = (&old[first..], &new[first..]);
        let pairs = old_rest.iter().rev().zip(new_rest.iter().rev());
        let last = pairs.take_while(|(old, new)| same_item(old, new)).count();
        let (old_end, new_end) = (old.len() - last, new.len() - last);
        for index in 0..first {
            self.compare(&at(path, &index.to_string()), &old[index], &new[index]);
        }
        let between = old_end.max(new_end);
        for index in first..between {
            let path = at(path, &index.to_string());
            match (old[..old_end].get(index), new[..new_end].get(index)) {
                (Some(old), Some(new)) => self.compare(&path, old, new),
                (Some(old), None) => self.add(Change::Remove, path, Some(old), None),
                (None, Some(new)) => self.add(Change::Add, path, None, Some(new)),
                (None, None) => {}
            }
        }
        for (old, (index, new)) in old[old_end..].iter().zip(new.iter().enumerate().skip(new_end)) {
            self.compare(&at(path, &index.to_string()), old, new);
        }
    }

    fn add(&mut self, op: Change, path: String, from: Option<&Value>, to: Option<&Value>) {
        if self.listed.len() == DIFFERENCES_MAX {
            self.has_more = true;
            return;
        }
        self.listed.push(Difference { op, path, from: from.cloned(), to: to.cloned() });
    }
}

/// Whether two items are the same one, changed or not: tasks by their id, anything else by being equal.
fn same_item(old: &Value, new: &Value) -> bool {
    match (old.get("taskId"), new.get("taskId")) {
        (Some(old), Some(new)) => old == new,
        _ => old == new,
    }
}

/// The pointer of what stands under `name`.
fn at(path: &str, name: &str) -> String {
    format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(from: &Value, to: &Value) -> Vec<String> {
        let (listed, has_more) = differences(from, to);
        assert!(!has_more);
        let text = |value: &Option<Value>| value.as_ref().map(ToString::to_string).unwrap_or_default();
        listed
            .iter()
            .map(|one| format!("{:?} {} {}>{}", one.op, one.path, text(&one.from), text(&one.to)))
            .collect()
    }

    #[test]
    fn values_are_compared_place_by_place() {
        let from = json!({"a": 1, "b/c": {"d": null, "e": "x"}, "gone": [1]});
        let to = json!({"a": 1, "b/c": {"d": 0, "e": "x"}, "new~": true});
        assert_eq!(told(&from, &to), ["Replace /b~1c/d null>0", "Remove /gone [1]>", "Add /new~0 >true"]);
        assert_eq!(told(&from, &from), [""; 0]);
        assert_eq!(told(&json!([1]), &json!({"0": 1})), [r#"Replace  [1]>{"0":1}"#]);
    }

    #[test]
    fn a_task_put_in_or_taken_out_leaves_the_others_as_they_are() {
        let task = |id: &str, n: u32| json!({"taskId": id, "parameters": {"n": n}});
        let list = |tasks: &[Value]| json!({"tasks": tasks});
        let both = list(&[task("a", 1), task("b", 2)]);
        let first = list(&[task("x", 0), task("a", 1), task("b", 3)]);
        let added =
            [format!("Add /tasks/0 >{}", task("x", 0)), "Replace /tasks/2/parameters/n 2>3".to_owned()];
        assert_eq!(told(&both, &first), added);
        let middle = list(&[task("a", 1), task("x", 0), task("b", 2)]);
        assert_eq!(told(&middle, &both), [format!("Remove /tasks/1 {}>", task("x", 0))]);
        assert_eq!(told(&json!([1, 2]), &json!([1, 3, 4])), ["Replace /1 2>3", "Add /2 >4"]);
        assert_eq!(told(&json!([]), &json!([1])), ["Add /0 >1"]);
    }

    #[test]
    fn the_list_is_bounded_and_says_so() {
        let long: Vec<Value> = (0..2_000).map(|n| json!(n)).collect();
        let (listed, has_more) = differences(&json!([]), &json!(long));
        assert_eq!((listed.len(), has_more), (DIFFERENCES_MAX, true));
    }
}
