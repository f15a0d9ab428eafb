//! What is done with each block of a page, in its order.

use serde_json::Value;

use super::block::{self, Block, Directive, FILES_OF};
use super::{compare, root};

/// How a page is followed.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// What is wrong with the page before anything is run.
    pub(super) faults: Vec<String>,
}

/// One block.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) line: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Run(Shell),
    File {
        name: String,
        text: String,
    },
    Compile(String),
    /// Kept by the server after the page has been followed.
    Workflow(String),
}

/// Commands, and what they print.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) text: String,
    pub(super) when: Option<String>,
    pub(super) background: Option<String>,
    pub(super) code: i32,
    pub(super) expected: Vec<(String, String)>,
}

impl Plan {
    pub(super) fn of(blocks: &[Block]) -> Self {
        let mut plan = Self::default();
        let mut last_shell = None;
        for block in blocks {
            if let Err(fault) = plan.add(block, &mut last_shell) {
                plan.faults.push(format!("line {}: {fault}", block.line));
            }
        }
        plan
    }

    fn add(&mut self, block: &Block, last_shell: &mut Option<(usize, usize)>) -> Result<(), String> {
        if block.language == FILES_OF {
            return self.files_of(&block.text);
        }
        let mut chosen = Chosen::default();
        for directive in &block.directives {
            chosen.take(directive)?;
        }
        if chosen.is_skipped {
            *last_shell = None;
            return Ok(());
        }
        let language = block.language.as_str();
        if language == "sh" {
            *last_shell = Some((self.steps.len(), block.section));
            return self.shell(block, chosen);
        }
        let is_shell_before = last_shell.is_some_and(|(_, section)| section == block.section);
        let is_output = matches!(language, "json" | "text") && !chosen.is_parsed && chosen.file.is_none();
        if is_output && (is_shell_before || chosen.is_output) {
            let step = last_shell.and_then(|(step, _)| self.steps.get_mut(step));
            let Some(Step { what: What::Run(shell), .. }) = step else {
                return Err("no commands before it whose output it could be".to_owned());
            };
            shell.expected.push((language.to_owned(), block.text.clone()));
            return Ok(());
        }
        let what = read(language, &block.text, chosen.file)?;
        self.steps.extend(what.into_iter().map(|what| Step { line: block.line, what }));
        Ok(())
    }

    /// The files of another page, without what is done with them there.
    fn files_of(&mut self, page: &str) -> Result<(), String> {
        let text = std::fs::read_to_string(root().join(page)).map_err(|error| format!("{page}: {error}"))?;
        for block in block::blocks(&text) {
            let name = block.directives.iter().find_map(|directive| match directive {
                Directive::File(name) => Some(name.clone()),
                _ => None,
            });
            let what = name.map(|name| What::File { name, text: block.text.clone() });
            self.steps.extend(what.map(|what| Step { line: block.line, what }));
        }
        Ok(())
    }

    fn shell(&mut self, block: &Block, chosen: Chosen) -> Result<(), String> {
        if block.text.contains('…') {
            return Err("it cannot be run with `…` in it: write it out, or skip it with a reason".to_owned());
        }
        let text = match chosen.is_server {
            true if !block.text.contains("signalbox serve") => {
                return Err("it has no `signalbox serve`".to_owned());
            }
            true => block.text.replace("./target/release/signalbox serve", "signalbox serve"),
            false => block.text.clone(),
        };
        let text = if chosen.is_server { text.replace("signalbox serve", "page_serve") } else { text };
        let Chosen { when, background, code, .. } = chosen;
        let shell = Shell { text, when, background, code, expected: Vec::new() };
        self.steps.push(Step { line: block.line, what: What::Run(shell) });
        Ok(())
    }
}

#[derive(Default)]
struct Chosen {
    is_skipped: bool,
    is_server: bool,
    is_parsed: bool,
    is_output: bool,
    file: Option<String>,
    when: Option<String>,
    background: Option<String>,
    code: i32,
}

impl Chosen {
    fn take(&mut self, directive: &Directive) -> Result<(), String> {
        match directive.clone() {
            Directive::Skip(_) => self.is_skipped = true,
            Directive::Server => self.is_server = true,
            Directive::Parse => self.is_parsed = true,
            Directive::Output => self.is_output = true,
            Directive::File(name) => self.file = Some(name),
            Directive::When(command) => self.when = Some(command),
            Directive::Background(until) => self.background = Some(until),
            Directive::Fails(code) => self.code = code,
            Directive::Unknown(text) => return Err(format!("`test: {text}` is no directive")),
        }
        Ok(())
    }
}

/// What is neither run nor compared has to be readable.
fn read(language: &str, text: &str, file: Option<String>) -> Result<Vec<What>, String> {
    let mut steps: Vec<What> =
        file.map(|name| What::File { name, text: text.to_owned() }).into_iter().collect();
    match language {
        "python" => steps.push(What::Compile(text.to_owned())),
        "json" => {
            let values = compare::values(text)?;
            steps.extend(values.iter().any(is_workflow).then(|| What::Workflow(text.to_owned())));
        }
        "yaml" => {
            let value: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
            steps.extend(is_workflow(&value).then(|| What::Workflow(text.to_owned())));
        }
        "toml" => drop(toml::from_str::<toml::Table>(text).map_err(|error| error.to_string())?),
        _ if !steps.is_empty() => {}
        _ => {
            return Err(format!(
                "a block of {language:?} that is neither run, compared, read nor skipped for a reason"
            ));
        }
    }
    Ok(steps)
}

fn is_workflow(value: &Value) -> bool {
    value["tasks"].is_array() && value["id"].is_string()
}

#[test]
fn a_block_that_nothing_is_done_with_is_a_fault() {
    let faults = |page: &str| Plan::of(&block::blocks(page)).faults.len();
    assert_eq!(faults("```text\nx\n```\n"), 1);
    assert_eq!(faults("```ruby\nx\n```\n"), 1);
    assert_eq!(faults("```\nx\n```\n"), 1);
    assert_eq!(faults("```json\n{\"a\" 1}\n```\n"), 1);
    assert_eq!(faults("```yaml\na: [\n```\n"), 1);
    assert_eq!(faults("```sh\ncurl …\n```\n"), 1);
    assert_eq!(faults("<!-- test: skipp because of it -->\n```sh\nx\n```\n"), 1);
    assert_eq!(faults("# A\n```sh\nx\n```\n# B\n```text\nx\n```\n"), 1, "another section");
    assert_eq!(faults("# A\n```sh\nx\n```\n```text\nx\n```\n"), 0);
    assert_eq!(faults("<!-- test: skip it is a drawing -->\n```text\nx\n```\n"), 0);
}
