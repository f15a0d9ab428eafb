//! Values put together again: whoever does a task gets the payloads themselves, not references to them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use signalbox_core::payload::{self, Payload, Reference};
use signalbox_store::{Store, StoreError};
use signalbox_wire::id::TenantId;

use super::long;

/// Nesting of a value that is put together, at most.
const DEPTH_MAX: usize = 256;

/// Bytes of payloads that are put together on a thread that others wait for; more take more than a millisecond.
const QUICK_BYTES_MAX: u64 = 512 << 10;

/// Why a value cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Incomplete {
    /// A payload is gone.
    #[error("it refers to the payload {0}, which is not kept, or no longer")]
    Unknown(String),
    /// It is too large.
    #[error(
        "it is larger than {0} bytes with all that it refers to; use a part of it, or raise payload_bytes_max"
    )]
    TooLarge(u64),
    /// It is nested too deeply.
    #[error("it is nested more than {DEPTH_MAX} levels deep with all that it refers to")]
    TooDeep,
}

/// `value` with all that it refers to in its place; at most `bytes_max` bytes in all, about.
pub(crate) async fn inline(
    store: &Store,
    tenant: &TenantId,
    value: &Value,
    bytes_max: u64,
) -> Result<Result<Value, Incomplete>, StoreError> {
    let mut known: HashMap<String, Arc<Payload>> = HashMap::new();
    let (mut open, mut bytes) = (owned(payload::references(value)), 0);
    while let Some(name) = open.pop() {
        if known.contains_key(&name) {
            continue;
        }
        let Some(payload) = store.payload(tenant, &name).await? else {
            return Ok(Err(Incomplete::Unknown(name)));
        };
        bytes += payload.body.len() as u64;
        if bytes > bytes_max {
            return Ok(Err(Incomplete::TooLarge(bytes_max)));
        }
        open.extend(owned(payload.references()));
        known.insert(name, payload);
    }
    let put_together = || put_together(value, &|name| known.get(name).map(AsRef::as_ref), bytes_max);
    Ok(if bytes > QUICK_BYTES_MAX { long::aside(put_together) } else { put_together() })
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// `value` with what `find` gives in the place of each reference; at most `bytes_max` bytes in all, about.
pub(crate) fn put_together<'a>(
    value: &'a Value,
    find: &dyn Fn(&str) -> Option<&'a Payload>,
    bytes_max: u64,
) -> Result<Value, Incomplete> {
    Joiner { find, left: bytes_max, bytes_max }.join(value, 0)
}

struct Joiner<'f, 'a> {
    find: &'f dyn Fn(&str) -> Option<&'a Payload>,
    left: u64,
    bytes_max: u64,
}

impl<'a> Joiner<'_, 'a> {
    fn join(&mut self, value: &'a Value, depth: usize) -> Result<Value, Incomplete> {
        if depth > DEPTH_MAX {
            return Err(Incomplete::TooDeep);
        }
        if let Some(Reference { sha256, .. }) = Reference::of(value) {
            let payload = (self.find)(sha256).ok_or_else(|| Incomplete::Unknown(sha256.to_owned()))?;
            return self.join(&payload.value, depth + 1);
        }
        match value {
            Value::Array(items) => {
                self.spend(items.len() + 2)?;
                items.iter().map(|item| self.join(item, depth + 1)).collect()
            }
            Value::Object(fields) => {
                self.spend(2)?;
                let mut joined = Map::new();
                for (name, part) in fields {
                    self.spend(name.len() + 4)?;
                    joined.insert(name.clone(), self.join(part, depth + 1)?);
                }
                Ok(Value::Object(joined))
            }
            Value::String(text) => {
                self.spend(text.len() + 2)?;
                Ok(value.clone())
            }
            other => {
                self.spend(5)?;
                Ok(other.clone())
            }
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Incomplete> {
        let left = self.left.checked_sub(bytes as u64);
        self.left = left.ok_or(Incomplete::TooLarge(self.bytes_max))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_put_together_within_bounds() {
        let inner = Payload::of(json!("x".repeat(100)));
        let outer = Payload::of(json!([inner.reference(), inner.reference()]));
        let find = |name: &str| [&inner, &outer].into_iter().find(|payload| payload.sha256 == name);
        let value = json!({"a": outer.reference(), "b": 1});
        let large = "x".repeat(100);
        assert_eq!(put_together(&value, &find, 1_000), Ok(json!({"a": [large, large], "b": 1})));
        assert_eq!(put_together(&value, &find, 150), Err(Incomplete::TooLarge(150)));
        let gone = |_: &str| None;
        assert_eq!(put_together(&value, &gone, 1_000), Err(Incomplete::Unknown(outer.sha256.clone())));
    }
}
