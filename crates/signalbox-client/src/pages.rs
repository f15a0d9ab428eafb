//! [`Pages`]: a whole list, page by page, by its cursors.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Client, ListQuery};
use crate::error::Error;

/// Pages that are read of one list, at most: a server that gives cursors without end is not followed without end.
const PAGES_MAX: u32 = 100_000;

/// All items of a list, one after the other. Pages are asked for as they are needed.
///
/// ```no_run
/// # async fn example() -> Result<(), signalbox_client::Error> {
/// use signalbox_client::{Client, ListQuery, SessionView};
/// let client = Client::from_env()?;
/// let mut sessions = client.all::<SessionView>(&["v1", "opscore", "sessions"], ListQuery::new());
/// while let Some(session) = sessions.next().await? {
///     println!("{}", session.session_id);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pages<T> {
    client: Client,
    path: Vec<String>,
    query: ListQuery,
    read: VecDeque<T>,
    /// How the next page is asked for; `None` after the last.
    next: Option<Option<(&'static str, String)>>,
    pages: u32,
}

impl Client {
    /// All items of the list at a path of the API, which is given by its segments: of `data` with `next_cursor`, and of
    /// ArtCafe's lists with `next_token`.
    #[must_use]
    pub fn all<T: DeserializeOwned>(&self, path: &[&str], query: ListQuery) -> Pages<T> {
        let path = path.iter().map(|&segment| segment.to_owned()).collect();
        Pages { client: self.clone(), path, query, read: VecDeque::new(), next: Some(None), pages: 0 }
    }
}

impl<T: DeserializeOwned> Pages<T> {
    /// The next item; `None` after the last. Nothing is lost when this is dropped; a further call after an error tries again.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(item) = self.read.pop_front() {
                return Ok(Some(item));
            }
            let Some(at) = self.next.clone() else { return Ok(None) };
            let query = match at {
                Some((name, cursor)) => self.query.clone().filter(name, cursor),
                None => self.query.clone(),
            };
            let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
            let page: Value = self.client.read(&path, &query).await?;
            self.take(page)?;
        }
    }

    fn take(&mut self, page: Value) -> Result<(), Error> {
        let unreadable = |reason: String| Error::unreadable(&self.path.join("/"), reason);
        let Value::Object(mut fields) = page else { return Err(unreadable("it is no list".to_owned())) };
        let cursor = |name: &'static str, field: &str| {
            fields.get(field).and_then(Value::as_str).map(|cursor| (name, cursor.to_owned()))
        };
        let next = cursor("cursor", "next_cursor").or_else(|| cursor("next_token", "next_token"));
        let list = fields.values_mut().find(|value| value.is_array()).map(Value::take);
        let list = list.ok_or_else(|| unreadable("it has no list".to_owned()))?;
        let items: Vec<T> = serde_json::from_value(list).map_err(|error| unreadable(error.to_string()))?;
        self.pages += 1;
        self.next = next.filter(|_| self.pages < PAGES_MAX).map(Some);
        self.read.extend(items);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_server::{CannedResponse, TestServer};

    #[tokio::test]
    async fn cursors_are_followed_to_the_end() {
        let page = |body: &Value| CannedResponse::new(200).json(body);
        for (field, name, list) in
            [("next_cursor", "cursor", "data"), ("next_token", "next_token", "channels")]
        {
            let server = TestServer::start(vec![
                page(&json!({list: [1, 2], field: "more"})),
                page(&json!({list: [], field: "most"})),
                page(&json!({list: [3], field: null})),
            ])
            .await;
            let client = Client::new(&server.url(), None).unwrap();
            let mut all = client.all::<u32>(&["x"], ListQuery::new().limit(2));
            let mut seen = Vec::new();
            while let Some(item) = all.next().await.unwrap() {
                seen.push(item);
            }
            assert_eq!(seen, [1, 2, 3]);
            let asked: Vec<_> = server.requests().into_iter().map(|asked| asked.target).collect();
            let next = |cursor: &str| format!("/x?limit=2&{name}={cursor}");
            assert_eq!(asked, ["/x?limit=2".to_owned(), next("more"), next("most")]);
        }
    }
}
