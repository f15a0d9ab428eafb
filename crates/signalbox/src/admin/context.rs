//! What every command works with: the client, and how its answers are written. Lists are read page by page, to their end
//! or to a limit.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::Value;
use serde_json::value::RawValue;
use signalbox_client::{Answer, Body, Client, ListQuery, Method, RetryPolicy, Timestamp};

use super::failure::NotThere;
use super::output::{self, Format, Many};
use super::resource::Resource;
use super::table::{self, Fields, Look};
use crate::printer;

/// Entries that are asked for at once.
const PAGE: usize = 1_000;

/// The server, and how what it answers is written.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) format: Format,
    pub(crate) look: Look,
    pub(crate) now: Timestamp,
}

impl Context {
    /// The same, where nothing is tried again: the answer is waited for by somebody.
    pub(crate) fn once(&self) -> Self {
        Self { client: self.client.clone().with_retry(RetryPolicy::never()), ..*self }
    }

    /// Reads something.
    pub(crate) async fn get(&self, path: &[&str], query: &ListQuery) -> anyhow::Result<Box<RawValue>> {
        raw(&self.client.request(Method::GET, path, query, None, None).await?)
    }

    /// Asks for something to be done.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> anyhow::Result<Box<RawValue>> {
        self.send_with(method, path, &ListQuery::new(), body).await
    }

    /// The same with a query.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &[&str],
        query: &ListQuery,
        body: Option<&Value>,
    ) -> anyhow::Result<Box<RawValue>> {
        Ok(self.send_for_status(method, path, query, body).await?.1)
    }

    /// The same where the status of what went well says more.
    pub(crate) async fn send_for_status(
        &self,
        method: Method,
        path: &[&str],
        query: &ListQuery,
        body: Option<&Value>,
    ) -> anyhow::Result<(u16, Box<RawValue>)> {
        let body = body.map(|body| Body {
            content_type: "application/json".to_owned(),
            bytes: body.to_string().into_bytes().into(),
        });
        let answer = self.client.request(method, path, query, body, None).await?;
        Ok((answer.status, raw(&answer)?))
    }

    /// Lists things: everything, or the first `limit` where that is not 0.
    pub(crate) async fn list(
        &self,
        resource: &Resource,
        rest: &[&str],
        query: &ListQuery,
        limit: usize,
    ) -> anyhow::Result<()> {
        let path = resource.at(rest);
        let mut pages = Pages::new(resource, query, limit);
        if self.format.is_table() {
            let mut things = Vec::new();
            while let Some(page) = pages.next(self, &path).await? {
                for thing in page {
                    things.push(output::value(&thing)?);
                }
            }
            self.print_table(resource, &things);
        } else {
            let mut many = Many::begin(self.format);
            while let Some(page) = pages.next(self, &path).await? {
                for thing in page {
                    many.add(&thing)?;
                }
            }
            many.end();
        }
        if pages.has_more {
            printer::notice(&format!("there are more than {limit}; --limit 0 shows all"));
        }
        Ok(())
    }

    /// Writes the table over things; where there are none, says so.
    pub(crate) fn print_table(&self, resource: &Resource, things: &[Value]) {
        if things.is_empty() {
            printer::notice(&format!("there is no {}", resource.noun));
        } else {
            printer::line(&table::of_things(resource.columns, things, (self.format, self.look, self.now)));
        }
    }

    /// Shows one thing.
    pub(crate) async fn show(&self, resource: &Resource, id: &str) -> anyhow::Result<()> {
        let thing = self.fetch(resource, &[id], &ListQuery::new()).await?;
        self.print(&thing)
    }

    /// Reads one thing, or something about it.
    pub(crate) async fn fetch(
        &self,
        resource: &Resource,
        rest: &[&str],
        query: &ListQuery,
    ) -> anyhow::Result<Box<RawValue>> {
        let answer =
            self.get(&resource.at(rest), query).await.map_err(|error| missing(resource, rest, error))?;
        unwrapped(resource, answer)
    }

    /// Asks for something to be done with one thing, and gives what the server says of it.
    pub(crate) async fn act(
        &self,
        (resource, method): (&Resource, Method),
        rest: &[&str],
        body: Option<&Value>,
    ) -> anyhow::Result<Box<RawValue>> {
        self.act_with((resource, method), rest, &ListQuery::new(), body).await
    }

    /// The same with a query.
    pub(crate) async fn act_with(
        &self,
        (resource, method): (&Resource, Method),
        rest: &[&str],
        query: &ListQuery,
        body: Option<&Value>,
    ) -> anyhow::Result<Box<RawValue>> {
        let answer = self.send_with(method, &resource.at(rest), query, body).await;
        unwrapped(resource, answer.map_err(|error| missing(resource, rest, error))?)
    }

    /// Says what was done: in words to whoever watches; to a program, what the server answered.
    pub(crate) fn done(&self, answer: &RawValue, words: &str) -> anyhow::Result<()> {
        printer::notice(words);
        if self.format.is_table() || answer.get() == "null" {
            Ok(())
        } else {
            output::whole(self.format, answer)
        }
    }

    /// Gives what was started: its id; to a program, what the server answered.
    pub(crate) fn started(&self, answer: &RawValue, id: &str) -> anyhow::Result<()> {
        if !self.format.is_table() {
            return output::whole(self.format, answer);
        }
        let answer = output::value(answer)?;
        let id = answer.pointer(id).and_then(Value::as_str).context("the answer names no id")?;
        printer::line(id);
        Ok(())
    }

    /// Writes one thing.
    pub(crate) fn print(&self, thing: &RawValue) -> anyhow::Result<()> {
        if self.format.is_table() {
            printer::line(&table::details(&Fields::read(thing)?)?);
            Ok(())
        } else {
            output::whole(self.format, thing)
        }
    }

    /// The id of an agent that is given by its id or its name.
    pub(crate) async fn agent(&self, given: &str) -> anyhow::Result<String> {
        if given.starts_with("agt_") {
            return Ok(given.to_owned());
        }
        let query = ListQuery::new().filter("name", given);
        let named = output::value(self.get(&["v1", "agents"], &query).await?.as_ref())?;
        let id = named.pointer("/data/0/agentId").and_then(Value::as_str);
        Ok(id.unwrap_or(given).to_owned())
    }

    /// The same where one is given at all.
    pub(crate) async fn maybe_agent(&self, given: Option<&str>) -> anyhow::Result<Option<String>> {
        match given {
            Some(given) => self.agent(given).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The pages of a list, one after the other.
pub(crate) struct Pages<'a> {
    resource: &'a Resource,
    query: &'a ListQuery,
    cursor: Option<String>,
    left: usize,
    is_over: bool,
    /// Whether the list goes on after the last that was asked for.
    pub(crate) has_more: bool,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(resource: &'a Resource, query: &'a ListQuery, limit: usize) -> Self {
        let left = if limit == 0 { usize::MAX } else { limit };
        Self { resource, query, cursor: None, left, is_over: false, has_more: false }
    }

    /// What is on the next page.
    pub(crate) async fn next(
        &mut self,
        context: &Context,
        path: &[&str],
    ) -> anyhow::Result<Option<Vec<Box<RawValue>>>> {
        if self.is_over {
            return Ok(None);
        }
        let (token, next) = if self.resource.items == "data" {
            ("cursor", "next_cursor")
        } else {
            ("next_token", "next_token")
        };
        let mut query = self.query.clone().limit(u32::try_from(self.left.min(PAGE)).unwrap_or(1));
        if let Some(cursor) = self.cursor.take() {
            query = query.filter(token, cursor);
        }
        let rest = path.get(self.resource.path.len()..).unwrap_or_default();
        let answer = context.get(path, &query).await.map_err(|error| missing(self.resource, rest, error))?;
        let mut fields: BTreeMap<String, Box<RawValue>> = fields(&answer)?;
        let items = fields.remove(self.resource.items).context("the answer holds no list")?;
        let items: Vec<Box<RawValue>> = serde_json::from_str(items.get())?;
        self.cursor = match fields.remove(next) {
            Some(cursor) => serde_json::from_str(cursor.get())?,
            None => None,
        };
        self.left = self.left.saturating_sub(items.len());
        self.is_over = self.cursor.is_none() || self.left == 0;
        self.has_more = self.cursor.is_some();
        Ok(Some(items))
    }
}

/// The filters of a list that are given.
pub(crate) fn filters<'a>(given: impl IntoIterator<Item = (&'a str, Option<String>)>) -> ListQuery {
    given.into_iter().fold(ListQuery::new(), |query, (name, value)| match value {
        Some(value) => query.filter(name, value),
        None => query,
    })
}

/// A body of the fields that are given.
pub(crate) fn body<'a>(given: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Value {
    let fields = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect())
}

/// A text for a body, where it is given.
pub(crate) fn text(given: Option<&str>) -> Option<Value> {
    given.map(|text| Value::String(text.to_owned()))
}

/// What an answer holds; `null` where it holds nothing.
fn raw(answer: &Answer) -> anyhow::Result<Box<RawValue>> {
    let text = if answer.body.is_empty() { b"null" } else { &answer.body[..] };
    serde_json::from_slice(text)
        .context("the server's answer is not JSON; is this address a Signalbox server's?")
}

fn fields(answer: &RawValue) -> anyhow::Result<BTreeMap<String, Box<RawValue>>> {
    serde_json::from_str(answer.get()).context("the answer is not of the form that was expected")
}

/// What is in the envelope, where there is one.
fn unwrapped(resource: &Resource, answer: Box<RawValue>) -> anyhow::Result<Box<RawValue>> {
    if !resource.enveloped {
        return Ok(answer);
    }
    Ok(fields(&answer)?.remove("data").unwrap_or(answer))
}

/// A refusal because the thing itself is not there is told with the command that lists what there is.
pub(crate) fn missing(resource: &Resource, rest: &[&str], error: anyhow::Error) -> anyhow::Error {
    match rest {
        [id, ..] if super::failure::is_unknown(&error, resource.noun) => {
            NotThere { noun: resource.noun, id: (*id).to_owned(), lister: resource.lister }.tell(error)
        }
        _ => error,
    }
}
