//! What the API calls things, in words of the command line: a route is a command, a field of a request an option.
//!
//! The server's refusals name routes and JSON pointers, as every client of the API knows them. Here is the one place
//! that tells them to somebody at a shell.

use signalbox_client::Fault;

/// Routes, and the commands that do the same. What stands in the path for `{}` stands in the command for its `{}`.
const ROUTES: [(&str, &str, &str); 37] = [
    ("GET", "/v1/agents", "agents list"),
    ("GET", "/v1/agents/{}", "agents show {}"),
    ("GET", "/v1/dead-letters", "dead-letters list"),
    ("GET", "/v1/dead-letters/{}", "dead-letters show {}"),
    ("DELETE", "/v1/dead-letters/{}", "dead-letters drop {}"),
    ("POST", "/v1/dead-letters/{}/redrive", "dead-letters redrive {}"),
    ("GET", "/v1/messages/{}", "agents message-status {}"),
    ("GET", "/v1/tools", "tools list"),
    ("POST", "/v1/tools", "tools register"),
    ("GET", "/v1/keys", "keys list"),
    ("POST", "/v1/keys", "keys create"),
    ("GET", "/v1/opscore/workflows", "workflows list"),
    ("GET", "/v1/opscore/workflows/{}", "workflows show {}"),
    ("GET", "/v1/opscore/workflows/{}/versions", "workflows versions {}"),
    ("GET", "/v1/opscore/sessions", "sessions list"),
    ("GET", "/v1/opscore/sessions/{}", "sessions show {}"),
    ("DELETE", "/v1/opscore/sessions/{}", "sessions delete {}"),
    ("POST", "/v1/opscore/sessions/{}/retry", "sessions retry {}"),
    ("POST", "/v1/opscore/sessions/{}/rerun", "sessions rerun {}"),
    ("POST", "/v1/opscore/sessions/{}/resume", "sessions resume {}"),
    ("POST", "/v1/opscore/sessions/{}/cancel", "sessions cancel {}"),
    ("GET", "/v1/opscore/schedules", "schedules list"),
    ("GET", "/v1/opscore/schedules/{}", "schedules show {}"),
    ("DELETE", "/v1/opscore/schedules/{}", "schedules delete {}"),
    ("GET", "/v1/opscore/hooks", "webhooks list"),
    ("GET", "/v1/opscore/hooks/{}", "webhooks show {}"),
    ("DELETE", "/v1/opscore/hooks/{}", "webhooks delete {}"),
    ("GET", "/v1/opscore/logs", "logs"),
    ("GET", "/api/v1/agents/{}/commands", "commands list {}"),
    ("POST", "/api/v1/agents/{}/commands", "commands send {}"),
    ("GET", "/api/v1/channels", "channels list"),
    ("POST", "/api/v1/channels", "channels create"),
    ("GET", "/api/v1/tenants", "tenants list"),
    ("POST", "/api/v1/tenants", "tenants create"),
    ("GET", "/api/v1/ssh-keys", "ssh-keys list"),
    ("POST", "/api/v1/ssh-keys", "ssh-keys add"),
    ("DELETE", "/api/v1/ssh-keys/{}", "ssh-keys delete {}"),
];

/// What is said of a request, as the API has it and as the option of a command.
const FLAGS: [(&str, &str); 4] = [
    ("force=true", "--force"),
    ("whole=true", "--whole"),
    ("'x-tenant-id: ", "'--tenant "),
    ("x-tenant-id", "--tenant"),
];

/// Fields of requests, and what gives them on the command line. Only those that mean the same in every request; what a
/// file holds is told by its place in the file.
const OPTIONS: [(&str, &str); 26] = [
    ("initialPayload", "INPUT"),
    ("payload", "PAYLOAD"),
    ("signal", "SIGNAL"),
    ("taskId", "TASK"),
    ("workflow", "--workflow"),
    ("workflowId", "--workflow"),
    ("agent", "--agent"),
    ("agentId", "--agent"),
    ("status", "--status"),
    ("since", "--since"),
    ("until", "--until"),
    ("from", "--from"),
    ("to", "--to"),
    ("text", "--text"),
    ("kind", "--kind"),
    ("limit", "--limit"),
    ("reason", "--reason"),
    ("comment", "--comment"),
    ("digest", "--digest"),
    ("cron", "--cron"),
    ("every", "--every"),
    ("timeZone", "--time-zone"),
    ("overlap", "--overlap"),
    ("catchUp", "--catch-up"),
    ("note", "--note"),
    ("input", "--input"),
];

/// A text of the server with each route that has a command told as that. What comes after a semicolon is left out where it
/// is about a route that has none.
pub(crate) fn in_commands(text: &str) -> String {
    let parts = text.split("; ").map(with_commands).enumerate();
    let kept = parts.filter(|(place, part)| *place == 0 || next_method(part).is_none()).map(|(_, part)| part);
    kept.collect::<Vec<_>>().join("; ")
}

fn with_commands(text: &str) -> String {
    let (mut told, mut rest) = (String::new(), text);
    while let Some((at, method)) = next_method(rest) {
        let (before, route) = rest.split_at(at);
        let path = &route[method.len() + 1..];
        let end = path.find(|letter: char| letter.is_whitespace() || ";,)'\"".contains(letter));
        let path = path[..end.unwrap_or(path.len())].trim_end_matches(['.', ':']);
        told.push_str(before);
        let whole = &route[..method.len() + 1 + path.len()];
        match command(method, path) {
            Some(command) => told.push_str(&format!("'signalbox {command}'")),
            None => told.push_str(whole),
        }
        rest = &route[whole.len()..];
    }
    told.push_str(rest);
    FLAGS.iter().fold(told, |text, (query, option)| text.replace(query, option))
}

/// Where the next method with a path behind it stands.
fn next_method(text: &str) -> Option<(usize, &'static str)> {
    let found = ["GET", "POST", "PUT", "PATCH", "DELETE"].into_iter().filter_map(|method| {
        let at = text.find(&format!("{method} /"))?;
        let is_word = !text[..at].ends_with(|letter: char| letter.is_alphanumeric());
        is_word.then_some((at, method))
    });
    found.min()
}

/// The command that does what a route does.
fn command(method: &str, path: &str) -> Option<String> {
    let given: Vec<&str> = path.split('/').collect();
    ROUTES.iter().filter(|(known, ..)| *known == method).find_map(|(_, template, command)| {
        let template: Vec<&str> = template.split('/').collect();
        let fits = |(known, given): (&&str, &&str)| *known == "{}" || known == given;
        if template.len() != given.len() || !template.iter().zip(&given).all(fits) {
            return None;
        }
        let named = template.iter().zip(&given).filter(|(known, _)| **known == "{}").map(|(_, given)| *given);
        Some(named.fold((*command).to_owned(), |command, named| command.replacen("{}", &placed(named), 1)))
    })
}

/// What stands in a path, as a word of a command: a name in braces is the reader's to give.
fn placed(named: &str) -> String {
    match named.strip_prefix('{').and_then(|named| named.strip_suffix('}')) {
        Some(name) => name.to_uppercase(),
        None => named.to_owned(),
    }
}

/// What does not fit in a request, told of what was given on the command line.
pub(crate) fn fault(fault: &Fault) -> String {
    let message = &fault.message;
    let pointer =
        fault.pointer.strip_prefix("/filter/").map_or(fault.pointer.clone(), |rest| format!("/{rest}"));
    let (field, rest) = pointer
        .strip_prefix('/')
        .map_or(("", ""), |pointer| pointer.find('/').map_or((pointer, ""), |end| pointer.split_at(end)));
    match OPTIONS.iter().find(|(known, _)| *known == field) {
        Some((_, option)) if rest.is_empty() => format!("{option} {message}"),
        Some((_, option)) => format!("{option}: {} {message}", place(rest)),
        None => fault.to_string(),
    }
}

/// What does not fit in a file, told by its place in it.
pub(crate) fn fault_in_file(fault: &Fault) -> String {
    let message = &fault.message;
    if fault.pointer.is_empty() {
        format!("it {message}")
    } else {
        format!("{} {message}", place(&fault.pointer))
    }
}

/// A JSON pointer as people write places: `tasks[0].retry`.
pub(crate) fn place(pointer: &str) -> String {
    let mut place = String::new();
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && name.bytes().all(|letter| letter.is_ascii_digit()) {
            place.push_str(&format!("[{name}]"));
        } else {
            if !place.is_empty() {
                place.push('.');
            }
            place.push_str(&name);
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_told_as_commands() {
        for (text, expected) in [
            (
                "Tenant not found: x; GET /api/v1/tenants lists them.",
                "Tenant not found: x; 'signalbox tenants list' lists them.",
            ),
            (
                "GET /v1/dead-letters lists those that there are, and GET /v1/messages/{id} tells where a message is",
                "'signalbox dead-letters list' lists those that there are, and 'signalbox agents message-status ID' tells where a message is",
            ),
            (
                "(DELETE /v1/opscore/schedules/s), or ask with force=true",
                "('signalbox schedules delete s'), or ask with --force",
            ),
            (
                "the session is over: POST /v1/opscore/sessions/ses_1/rerun runs it",
                "the session is over: 'signalbox sessions rerun ses_1' runs it",
            ),
            (
                "GET /openapi.json lists them; BUDGET /v1/agents",
                "GET /openapi.json lists them; BUDGET /v1/agents",
            ),
            ("GET /v1/agents.", "'signalbox agents list'."),
            (
                "no agent a; GET /v1/agents lists them; POST /v1/agents registers one; did you mean b?",
                "no agent a; 'signalbox agents list' lists them; did you mean b?",
            ),
            ("The tenant named in x-tenant-id does not exist", "The tenant named in --tenant does not exist"),
            ("no route", "no route"),
        ] {
            assert_eq!(in_commands(text), expected);
        }
    }

    #[test]
    fn fields_are_told_as_options() {
        for (pointer, expected) in [
            ("/initialPayload/text", "INPUT: text is required"),
            ("/initialPayload/a/0/b~1c", "INPUT: a[0].b/c is required"),
            ("/cron", "--cron is required"),
            ("/filter/status", "--status is required"),
            ("/contactEndpoint", "/contactEndpoint is required"),
            ("", "the body is required"),
        ] {
            assert_eq!(fault(&Fault::new(pointer, "is required")), expected, "{pointer}");
        }
        assert_eq!(
            fault_in_file(&Fault::new("/tasks/0/param", "is not known")),
            "tasks[0].param is not known"
        );
        assert_eq!(fault_in_file(&Fault::new("", "must be an object")), "it must be an object");
    }
}
