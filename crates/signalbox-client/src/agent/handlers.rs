//! Which handler takes which work.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use super::call::{Call, Kind};
use super::failure::Failure;

/// How a handler ends.
pub(super) type Outcome = Result<Value, Failure>;

type Handling = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// One handler.
#[derive(Clone)]
pub(super) struct Handler(Arc<dyn Fn(Call) -> Handling + Send + Sync>);

/// All handlers of an agent.
#[derive(Debug, Default)]
pub(super) struct Handlers {
    named: HashMap<(Kind, String), Handler>,
    /// By the pattern that was subscribed to.
    subjects: Vec<(String, Handler)>,
    /// For whatever has none of its own.
    rest: Option<Handler>,
}

impl Handler {
    pub(super) fn new<H, F, E>(handler: H) -> Self
    where
        H: Fn(Call) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Failure>,
    {
        Self(Arc::new(move |call| {
            let work = handler(call);
            Box::pin(async move { work.await.map_err(Into::into) })
        }))
    }

    pub(super) async fn run(&self, call: Call) -> Outcome {
        (self.0)(call).await
    }
}

impl Handlers {
    pub(super) fn name(&mut self, kind: Kind, name: impl Into<String>, handler: Handler) {
        self.named.insert((kind, name.into()), handler);
    }

    pub(super) fn subject(&mut self, pattern: impl Into<String>, handler: Handler) {
        self.subjects.push((pattern.into(), handler));
    }

    pub(super) fn rest(&mut self, handler: Handler) {
        self.rest = Some(handler);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.subjects.is_empty() && self.rest.is_none()
    }

    /// The names that have a handler of their own, sorted.
    pub(super) fn names(&self, kind: Kind) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.named.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The handler of a call, where there is one.
    pub(super) fn of(&self, kind: Kind, name: &str) -> Option<&Handler> {
        let by_subject = || {
            let fits = |(pattern, _): &&(String, Handler)| matches(pattern, name);
            let of_subjects = matches!(kind, Kind::Publication | Kind::Request);
            self.subjects.iter().filter(|_| of_subjects).find(fits).map(|(_, handler)| handler)
        };
        self.named.get(&(kind, name.to_owned())).or_else(by_subject).or(self.rest.as_ref())
    }
}

/// Whether a subject is one of a pattern's: `*` is one part, `>` at the end one or more.
pub(super) fn matches(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some(part), Some(other)) if part == "*" || part == other => {}
            _ => return false,
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &'static str) -> Handler {
        Handler::new(move |_| async move { Ok::<_, Failure>(Value::from(name)) })
    }

    #[tokio::test]
    async fn work_goes_to_its_own_handler_or_to_the_one_for_the_rest() {
        let mut handlers = Handlers::default();
        handlers.name(Kind::Task, "read", named("read"));
        handlers.subject("orders.*", named("orders"));
        assert!(handlers.of(Kind::Task, "write").is_none() && handlers.of(Kind::Message, "read").is_none());
        handlers.rest(named("rest"));
        for (kind, name, expected) in [
            (Kind::Task, "read", "read"),
            (Kind::Command, "read", "rest"),
            (Kind::Publication, "orders.eu", "orders"),
            (Kind::Request, "orders.eu", "orders"),
            (Kind::Publication, "orders.eu.1", "rest"),
        ] {
            let handler = handlers.of(kind, name).unwrap().clone();
            assert_eq!(handler.run(Call::default()).await, Ok(Value::from(expected)), "{kind:?} {name}");
        }
    }

    #[test]
    fn patterns_match_as_on_the_server() {
        for (pattern, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("*.b", "a.c", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
