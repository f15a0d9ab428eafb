//! Large values: where a session shows `{"$payload": {"sha256": …, "bytes": …}}`, the value itself is one call
//! away ([`Client::payload`]), and [`Client::whole`] puts a value together with all that it refers to.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::client::Client;
use crate::error::Error;

/// The largest value that is put together, in bytes, about: above what a server gives an agent by default.
const WHOLE_BYTES_MAX: usize = 64 << 20;
/// Nesting of a value that is put together, at most.
const DEPTH_MAX: usize = 256;

impl Client {
    /// The payload of that hash; parts of it may be references themselves.
    ///
    /// # Errors
    /// [`Error`]; one that no session refers to is a problem of status 404.
    pub async fn payload(&self, sha256: &str) -> Result<Value, Error> {
        self.get(&["v1", "opscore", "payloads", sha256]).fetch().await
    }

    /// `value` with the payloads themselves where it refers to them. One without references costs no call.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Unusable`] above 64 MiB or 256 levels in all.
    pub async fn whole(&self, value: Value) -> Result<Value, Error> {
        let mut known: HashMap<String, Value> = HashMap::new();
        let mut missing = Vec::new();
        collect(&value, &mut missing);
        if missing.is_empty() {
            return Ok(value);
        }
        while let Some(name) = missing.pop() {
            if known.contains_key(&name) {
                continue;
            }
            let payload = self.payload(&name).await?;
            collect(&payload, &mut missing);
            known.insert(name, payload);
        }
        Joiner { known: &known, left: WHOLE_BYTES_MAX }.join(&value, 0)
    }
}

/// The hash that `value` names, where it is a reference.
fn reference(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let said = fields.get("$payload")?.as_object().filter(|said| said.len() == 2)?;
    let name = said.get("sha256")?.as_str().filter(|name| name.len() == 64)?;
    said.get("bytes")?.as_u64().map(|_| name)
}

fn collect(value: &Value, names: &mut Vec<String>) {
    match (reference(value), value) {
        (Some(name), _) => names.push(name.to_owned()),
        (None, Value::Array(items)) => items.iter().for_each(|item| collect(item, names)),
        (None, Value::Object(fields)) => fields.values().for_each(|part| collect(part, names)),
        _ => {}
    }
}

/// A few short payloads can refer to each other so often that the whole would fill any memory: hence the bounds.
struct Joiner<'a> {
    known: &'a HashMap<String, Value>,
    left: usize,
}

impl<'a> Joiner<'a> {
    fn join(&mut self, value: &'a Value, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH_MAX {
            return Err(unusable(&format!("it is nested more than {DEPTH_MAX} levels deep")));
        }
        if let Some(payload) = reference(value).and_then(|name| self.known.get(name)) {
            return self.join(payload, depth + 1);
        }
        match value {
            Value::Array(items) => {
                self.spend(items.len() + 2)?;
                items.iter().map(|item| self.join(item, depth + 1)).collect()
            }
            Value::Object(fields) => {
                let mut joined = Map::new();
                for (name, part) in fields {
                    self.spend(name.len() + 4)?;
                    joined.insert(name.clone(), self.join(part, depth + 1)?);
                }
                Ok(Value::Object(joined))
            }
            Value::String(text) => self.spend(text.len() + 2).map(|()| value.clone()),
            other => self.spend(5).map(|()| other.clone()),
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| unusable(&format!("it is larger than {WHOLE_BYTES_MAX} bytes")))?;
        Ok(())
    }
}

fn unusable(reason: &str) -> Error {
    Error::unusable(
        "the value with all that it refers to",
        format!("{reason}; fetch its payloads one by one"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_server::{Answer, TestServer};

    fn refer(digit: char) -> Value {
        json!({"$payload": {"sha256": digit.to_string().repeat(64), "bytes": 9}})
    }

    /// A payload by the digit that its name is made of.
    type Kept = (char, fn() -> Value);

    /// Answers with the payload whose name is made of the digit.
    async fn keeps(payloads: &'static [Kept]) -> TestServer {
        TestServer::respond(move |asked| {
            let of = |digit: char| {
                asked.target == format!("/v1/opscore/payloads/{}", digit.to_string().repeat(64))
            };
            match payloads.iter().find(|(digit, _)| of(*digit)) {
                Some((_, payload)) => Answer::new(200).json(&payload()),
                None => Answer::new(404).json(&json!({"detail": "Payload not found"})),
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_value_is_put_together_and_each_payload_fetched_once() {
        let server = keeps(&[('1', || json!([refer('2'), refer('2')])), ('2', || json!("large"))]).await;
        let client = Client::new(&server.url(), None).unwrap();
        let whole = client.whole(json!({"a": refer('1'), "b": refer('2'), "c": 1})).await.unwrap();
        assert_eq!(whole, json!({"a": ["large", "large"], "b": "large", "c": 1}));
        assert_eq!(server.requests().len(), 2);
        assert_eq!(client.whole(json!({"c": {"$payload": 1}})).await.unwrap(), json!({"c": {"$payload": 1}}));
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn a_payload_that_is_gone_is_told_and_one_that_would_explode_is_refused() {
        let server =
            keeps(&[('1', || json!(vec![refer('2'); 5_000])), ('2', || json!("x".repeat(20_000)))]).await;
        let client = Client::new(&server.url(), None).unwrap();
        assert_eq!(client.whole(refer('3')).await.unwrap_err().status(), Some(404));
        let error = client.whole(refer('1')).await.unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
    }
}
