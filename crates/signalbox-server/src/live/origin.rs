//! Which pages of browsers may open a connection: a browser tells whose page it is, and sends whatever it has.

use std::sync::Arc;

use http::HeaderMap;
use signalbox_wire::problem::Problem;

use crate::auth::foreign_origin;

/// Origins whose pages may connect, besides the server's own.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllowedOrigins(Arc<[String]>);

impl AllowedOrigins {
    pub(crate) fn new(origins: &[String]) -> Self {
        Self(Arc::from(origins))
    }

    /// Refuses a call from a page of another origin.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        match foreign_origin(headers) {
            Some(origin) if !self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) => {
                Err(Problem::forbidden(
                    "The page that connects is of another origin; the operator allows origins with allowed_origins.",
                ))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_this_server_and_of_allowed_origins_connect() {
        let allowed = AllowedOrigins::new(&["https://console.example".to_owned()]);
        for (origin, expected) in [
            (None, true),
            (Some("http://localhost:8000"), true),
            (Some("https://Console.example"), true),
            (Some("https://console.example.evil.example"), false),
            (Some("http://localhost:3000"), false),
            (Some("null"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("localhost:8000"));
            if let Some(origin) = origin {
                headers.insert("origin", HeaderValue::from_str(origin).expect("valid"));
            }
            assert_eq!(allowed.check(&headers).is_ok(), expected, "{origin:?}");
        }
    }
}
