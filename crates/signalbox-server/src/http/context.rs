//! What a handler knows of its request besides path and body: who calls, with what allowed, in which trace.
//!
//! A handler names what it requires in its signature: `Context<Reads>`, `Context<Acts>`, `Context<Administers>`;
//! `Body` is the request's body, read within its limits.

use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use hyper::body::Body;
use signalbox_core::decision::Scope;
use signalbox_wire::body::{self as wire_body, BodyError};
use signalbox_wire::fault::Fault;
use signalbox_wire::id::TenantId;
use signalbox_wire::problem::Problem;
use signalbox_wire::problem_kind::ProblemKind;

use crate::auth::{Authenticator, Caller};
use crate::byte_budget::{ByteBudget, Share};
use crate::http::access::Visit;
use crate::http::body::{self, BodyLimits, Format, IsCounted};
use crate::http::idempotency::IdempotencyClaim;
use crate::http::own_agent;
use crate::http::problem::Refusal;
use crate::http::route_table::RouteTable;
use crate::http::unknown_fields::{BodyFields, Look};
use crate::http::yaml;

/// Who calls, and what belongs to the call.
pub(crate) struct Context<R> {
    pub(crate) caller: Caller,
    /// The request's `traceparent`, where it carried a well-formed one.
    pub(crate) trace: Option<String>,
    /// That the answer is to be kept.
    pub(crate) claim: Option<IdempotencyClaim>,
    required: PhantomData<R>,
}

/// What a handler requires of its caller.
pub(crate) trait Requirement: Send + Sync + 'static {
    /// The least scope that is enough.
    const SCOPE: Scope;
}

/// Looking is enough.
pub(crate) struct Reads;
/// For agents: register, report, send.
pub(crate) struct Acts;
/// For those who run the tenant.
pub(crate) struct Administers;

impl Requirement for Reads {
    const SCOPE: Scope = Scope::Read;
}

impl Requirement for Acts {
    const SCOPE: Scope = Scope::Agent;
}

impl Requirement for Administers {
    const SCOPE: Scope = Scope::Admin;
}

impl<R> Context<R> {
    /// The tenant that the call is in.
    pub(crate) fn tenant(&self) -> &TenantId {
        &self.caller.tenant
    }
}

impl<R, S> FromRequestParts<S> for Context<R>
where
    R: Requirement,
    S: Send + Sync,
    Authenticator: FromRef<S>,
    RouteTable: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let caller = match parts.extensions.remove::<Caller>() {
            Some(caller) => caller,
            None => Authenticator::from_ref(state).admitted(&parts.headers, parts.uri.path()).await?,
        };
        Visit::is_by(&parts.extensions, &caller.tenant);
        let claim = parts.extensions.remove::<IdempotencyClaim>();
        own_agent::check(&caller, parts)?;
        let context = Self::allowed(caller, claim, &parts.headers)?;
        RouteTable::from_ref(state).check(parts).await?;
        Ok(context)
    }
}

impl<R: Requirement> Context<R> {
    /// That of a request on `route`, without a query, whose answer will not be kept.
    pub(crate) async fn of(
        authenticator: &Authenticator,
        parts: &Parts,
        route: &str,
    ) -> Result<Self, Refusal> {
        let caller = authenticator.admitted(&parts.headers, parts.uri.path()).await?;
        Visit::is_by(&parts.extensions, &caller.tenant);
        own_agent::check_on(&caller, &parts.method, route, parts.uri.path())?;
        Self::allowed(caller, None, &parts.headers)
    }

    fn allowed(
        caller: Caller,
        claim: Option<IdempotencyClaim>,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        if caller.scope < R::SCOPE {
            let (have, need) = (scope_name(caller.scope), scope_name(R::SCOPE));
            let detail = format!("This key has the scope '{have}'; a key with the scope '{need}' is needed.");
            return Err(Problem::forbidden(detail).into());
        }
        Ok(Self { caller, trace: trace_of(headers), claim, required: PhantomData })
    }
}

pub(crate) fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Agent => "agent",
        Scope::Admin => "admin",
    }
}

/// The request's `traceparent`, where it carries a well-formed one.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<String> {
    let trace = headers.get("traceparent").and_then(|trace| trace.to_str().ok());
    trace.filter(|trace| is_traceparent(trace)).map(str::to_owned)
}

/// Whether a text has the form of W3C Trace Context's `traceparent`.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &&str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    matches!(parts.as_slice(), [version, trace, span, flags, ..]
        if is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2))
}

/// What a route takes a definition as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formats {
    Json,
    JsonOrYaml,
}

fn only_json() -> Refusal {
    let detail = "The body is YAML; here it must be application/json.".to_owned();
    Problem::unsupported_media(detail).into()
}

/// A request's body.
pub(crate) struct Input {
    pub(crate) bytes: Bytes,
    pub(crate) format: Format,
    /// Looks for fields that are not known.
    look: Option<Look>,
    /// Its part of what all bodies may take, until the handler is done with it.
    _share: Share,
}

impl Input {
    /// That of a request with these headers.
    pub(crate) async fn of(
        limits: &BodyLimits,
        headers: &HeaderMap,
        body: impl Body<Data = Bytes> + Unpin,
    ) -> Result<Self, Refusal> {
        let format = body::format(headers)?;
        let body::Collected { bytes, share } = body::collect(limits, headers, body).await?;
        Ok(Self { bytes, format, look: None, _share: share })
    }

    /// The body as `T`.
    pub(crate) fn parse<T: wire_body::Body>(&self) -> Result<T, Refusal> {
        match self.format {
            Format::Json => {
                let body = wire_body::parse(&self.bytes)?;
                if let Some(look) = &self.look {
                    look.at_json(&self.bytes);
                }
                Ok(body)
            }
            Format::Yaml => Err(only_json()),
        }
    }

    /// The body as `T`, or `T`'s default when it is empty.
    pub(crate) fn parse_or_default<T: wire_body::Body + Default>(&self) -> Result<T, Refusal> {
        if self.bytes.trim_ascii().is_empty() { Ok(T::default()) } else { self.parse() }
    }

    /// The body as `T`, which holds a workflow's definition, with all fields of it that are not known. Where the request
    /// is `strict`, those are faults beside the others.
    pub(crate) fn parse_definition<T: wire_body::Body>(
        &self,
        formats: Formats,
        strict: bool,
    ) -> Result<(T, Vec<Fault>), Refusal> {
        let value = match (self.format, formats) {
            (Format::Json, _) => wire_body::parse_value(&self.bytes)?,
            (Format::Yaml, Formats::JsonOrYaml) => self.yaml()?,
            (Format::Yaml, Formats::Json) => return Err(only_json()),
        };
        let unknown = self.look.as_ref().map(|look| look.all(&value)).unwrap_or_default();
        match wire_body::from_value(value) {
            Ok(body) if unknown.is_empty() || !strict => Ok((body, unknown)),
            Ok(_) => Err(unknown.into()),
            Err(BodyError::Invalid(mut faults)) if strict => {
                faults.extend(unknown);
                Err(faults.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn yaml(&self) -> Result<serde_json::Value, Refusal> {
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|_| BodyError::NotJson { detail: "The body is not UTF-8.".to_owned() })?;
        Ok(yaml::parse(text)
            .map_err(|fault| Problem::new(ProblemKind::NotYaml, format!("The body is not YAML: {fault}.")))?)
    }

    /// The body, without a look at what is not known in it: for routes that nearly every request takes.
    pub(crate) fn unlooked(self) -> Self {
        Self { look: None, ..self }
    }
}

impl<S> FromRequest<S> for Input
where
    S: Send + Sync,
    BodyLimits: FromRef<S>,
    BodyFields: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let mut limits = BodyLimits::from_ref(state);
        if parts.extensions.get::<IsCounted>().is_some() {
            limits.budget = ByteBudget::unbounded();
        }
        let look = BodyFields::from_ref(state).for_request(&parts).await;
        Ok(Self { look, ..Self::of(&limits, &parts.headers, body).await? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_carried_on_only_when_it_is_one() {
        assert!(is_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        for text in ["", "00-xyz", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", "a\r\nb"] {
            assert!(!is_traceparent(text), "{text:?}");
        }
    }
}
