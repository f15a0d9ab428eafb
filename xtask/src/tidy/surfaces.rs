//! The surfaces of the server are siblings that do not know each other.

use anyhow::Result;

use super::rust::{Token, code_of, is_word, tokens};
use super::{Fault, Project};

const SERVER: &str = "crates/signalbox-server/src/surface/";

const SURFACES: [&str; 5] = ["agentkit", "artcafe", "dashboard", "opscore", "process"];

/// Looks for the modules of other surfaces in the files of each.
pub(super) fn check(project: &Project<'_>) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in project.files.iter().filter(|path| path.ends_with(".rs")) {
        if let Some(module) = path.strip_prefix(SERVER).map(module_of)
            && SURFACES.contains(&module[0])
        {
            faults.extend(check_file(path, &module, &project.repo.read(path)?));
        }
    }
    Ok(faults)
}

/// The names on the way to the module that a file holds: `a/b.rs` and `a/b/mod.rs` are both `a`, `b`.
fn module_of(file: &str) -> Vec<&str> {
    let file = file.trim_end_matches(".rs");
    file.strip_suffix("/mod").unwrap_or(file).split('/').collect()
}

fn check_file(path: &str, module: &[&str], text: &str) -> Vec<Fault> {
    let code = code_of(text);
    let tokens = tokens(&code);
    let mut faults = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.text != module[0]
            && SURFACES.contains(&token.text)
            && is_root(&prefix(&tokens, at), module.len())
        {
            let message = format!(
                "{} mentions {}: surfaces are strangers; what both need belongs beside their folders",
                module[0], token.text
            );
            faults.push(Fault::new(path, token.line, message));
        }
    }
    faults
}

/// Whether a path that begins so stands where the surfaces are, seen from a module `depth` below it.
fn is_root(prefix: &[&str], depth: usize) -> bool {
    match prefix {
        [] => false,
        ["surface", ..] => true,
        // A module inside the file makes the way up longer, never shorter.
        climbing => climbing.iter().all(|name| *name == "super") && climbing.len() >= depth,
    }
}

/// The names before the one at `at`, innermost first, through the braces of a `use`.
fn prefix<'a>(tokens: &[Token<'a>], mut at: usize) -> Vec<&'a str> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut names = Vec::new();
    while at > 0 {
        at = match text(at - 1) {
            "::" if at > 1 && text(at - 2).starts_with(is_word) => {
                names.push(text(at - 2));
                at - 2
            }
            "{" | "," => match group_start(tokens, at) {
                Some(open) => open,
                None => break,
            },
            _ => break,
        };
    }
    names.retain(|name| *name != "self");
    names
}

/// The opening brace of the `use` group around `at`, if it is in one.
fn group_start(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    let mut closed = 0;
    for open in (1..at).rev() {
        match tokens[open].text {
            "}" => closed += 1,
            "{" if closed > 0 => closed -= 1,
            "{" => return (tokens[open - 1].text == "::").then_some(open),
            "," | "::" | "*" => {}
            word if word.starts_with(is_word) => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(file: &str, text: &str) -> Vec<usize> {
        check_file(file, &module_of(file), text).into_iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn every_way_to_a_sibling_is_found() {
        let run = "agentkit/run.rs";
        assert_eq!(lines(run, "use crate::surface::opscore::state;"), [1]);
        assert_eq!(lines(run, "fn f() {\n    super::super::opscore::g();\n}"), [2]);
        assert_eq!(lines(run, "use crate::surface::{\n    auth,\n    opscore,\n};"), [3]);
        assert_eq!(lines(run, "use crate::surface::{auth::{A, B}, artcafe::c};"), [1]);
        assert_eq!(lines(run, "use signalbox_server::surface::dashboard;"), [1]);
        assert_eq!(lines("agentkit/mod.rs", "use super::opscore;"), [1]);
        assert_eq!(lines("agentkit.rs", "mod tests { use super::super::opscore; }"), [1]);
    }

    #[test]
    fn own_modules_and_other_crates_pass() {
        let run = "agentkit/run.rs";
        assert_eq!(lines(run, "use super::opscore; use crate::surface::agentkit::opscore;"), NONE);
        assert_eq!(lines(run, "use signalbox_wire::{agentkit, opscore};"), NONE);
        assert_eq!(
            lines(run, "// crate::surface::opscore\nlet opscore = f(opscore, \"crate::surface::opscore\");"),
            NONE
        );
        assert_eq!(lines(run, "S { opscore, b }; crate::f(a, opscore);"), NONE);
        assert_eq!(lines("opscore/state.rs", "use crate::surface::opscore::notify;"), NONE);
    }

    #[test]
    fn a_file_and_a_folder_name_the_same_module() {
        assert_eq!(module_of("agentkit/run.rs"), ["agentkit", "run"]);
        assert_eq!(module_of("agentkit/run/mod.rs"), ["agentkit", "run"]);
        assert_eq!(module_of("agentkit.rs"), ["agentkit"]);
    }
}
