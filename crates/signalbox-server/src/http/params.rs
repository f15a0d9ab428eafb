//! What a path and a query say, read with all their faults at once and refused as problems.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::de::DeserializeOwned;
use signalbox_store::Page;
use signalbox_wire::fault::Fault;
use signalbox_wire::paging::PageQuery;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;
use signalbox_wire::time::Timestamp;

use crate::http::problem::Refusal;

/// A path's parameter, or its parameters as a tuple.
pub(crate) struct Path<T = String>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(texts)) => Ok(Self(texts)),
            Err(_) => {
                let detail = "The path is not UTF-8; percent-encode it as such.";
                Err(Problem::new(ProblemKind::BadPath, detail).into())
            }
        }
    }
}

/// Two path parameters.
pub(crate) struct PathPair(pub(crate) String, pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for PathPair {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::<(String, String)>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path((first, second))) => Ok(Self(first, second)),
            Err(_) => {
                let detail = "The path is not UTF-8; percent-encode it as such.";
                Err(Problem::new(ProblemKind::BadPath, detail).into())
            }
        }
    }
}

/// The query's parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let reason = rejection.body_text();
                Err(twice(&reason).unwrap_or_else(|| {
                    Problem::new(ProblemKind::BadQuery, format!("The query cannot be read: {reason}.")).into()
                }))
            }
        }
    }
}

/// The refusal of a parameter that is given more than once, which the parser names in its words.
fn twice(reason: &str) -> Option<Refusal> {
    let (_, rest) = reason.split_once("duplicate field `")?;
    let (name, _) = rest.split_once('`')?;
    Some(vec![Fault::new(format!("/{name}"), "is given more than once; give it once")].into())
}

/// Query parameters, read with all their faults at once.
#[derive(Default)]
pub(crate) struct Reader {
    faults: Vec<Fault>,
}

impl Reader {
    /// Reads a parameter where it is there.
    pub(crate) fn read<T>(
        &mut self,
        name: &str,
        given: Option<&str>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(given?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault::new(format!("/{name}"), message));
                None
            }
        }
    }

    /// Reads which page of `list` is asked for.
    pub(crate) fn page(&mut self, list: &str, query: &PageQuery) -> Page {
        match query.read(list) {
            Ok(request) => Page { limit: request.limit, after: request.after },
            Err(faults) => {
                self.faults.extend(faults);
                Page::default()
            }
        }
    }

    /// Refuses where anything was wrong.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.into()) }
    }
}

/// Reads an id.
pub(crate) fn id<T, E>(parse: impl Fn(&str) -> Result<T, E>) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let rule = "must be an id of 1 to 256 characters, none of them a control character";
        parse(text).map_err(|_| rule.to_owned())
    }
}

/// Reads a point in time. An offset's `+` that came unencoded, and so as a space, is read as meant.
pub(crate) fn timestamp(text: &str) -> Result<Timestamp, String> {
    let mended = || {
        let (time, offset) = text.rsplit_once(' ')?;
        Timestamp::parse(&format!("{time}+{offset}")).ok()
    };
    let read = Timestamp::parse(text).ok().or_else(mended);
    read.ok_or_else(|| "must be an RFC 3339 or ISO 8601 timestamp, such as 2026-01-31T12:00:00Z".to_owned())
}

/// Reads a yes or no; the bare name means yes.
pub(crate) fn flag(text: &str) -> Result<bool, String> {
    match text {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use signalbox_wire::id::AgentId;

    use super::*;

    #[test]
    fn a_plus_that_became_a_space_is_read_as_meant() {
        let expected = Timestamp::from_seconds(1_704_110_400);
        for text in [
            "2024-01-01T14:00:00+02:00",
            "2024-01-01T14:00:00 02:00",
            "2024-01-01 12:00:00",
            "2024-01-01T12:00:00Z",
        ] {
            assert_eq!(timestamp(text), Ok(expected), "{text}");
        }
        for text in ["", " ", "noon", "2024-01-01T14:00:00 noon"] {
            assert!(timestamp(text).is_err(), "{text}");
        }
    }

    #[test]
    fn all_faults_of_a_query_are_told_at_once() {
        let mut reader = Reader::default();
        assert_eq!(reader.read("agent", Some("a"), id(AgentId::parse)), AgentId::parse("a").ok());
        assert!(reader.read("other", Some(""), id(AgentId::parse)).is_none());
        assert!(reader.read("replace", Some("maybe"), flag).is_none());
        assert_eq!(reader.read("absent", None, flag), None);
        reader.page("logs", &PageQuery { limit: Some("0".to_owned()), cursor: Some("x".to_owned()) });
        let refusal = reader.finish().expect_err("faults");
        let pointers: Vec<&str> = refusal.0.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!((refusal.0.status, pointers), (422, vec!["/other", "/replace", "/limit", "/cursor"]));
    }
}
