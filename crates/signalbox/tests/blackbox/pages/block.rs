//! The fenced blocks of a page, each with what the page says about it.

/// A fenced block, or the hidden commands of a `before` comment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block {
    /// Where its text begins in the page.
    pub(super) line: usize,
    /// How many headings stand before it.
    pub(super) section: usize,
    pub(super) language: String,
    pub(super) text: String,
    pub(super) directives: Vec<Directive>,
}

/// What a comment before a block says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Directive {
    Skip(String),
    Server,
    Background(String),
    When(String),
    Fails(i32),
    File(String),
    Parse,
    Output,
    Unknown(String),
}

const OPEN: &str = "<!-- test:";
const CLOSE: &str = "-->";
/// The language of what stands for the files that the reader has from another page, whose name is its text.
pub(super) const FILES_OF: &str = "files of";
const FILES: [&str; 6] = [".py", ".yaml", ".yml", ".json", ".toml", ".service"];

/// The blocks of a page in their order.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut reader = Reader { blocks: Vec::new(), directives: Vec::new(), section: 0, before: String::new() };
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim();
        if let Some(language) = trimmed.strip_prefix("```") {
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
            let text: Vec<&str> = inside.map(|line| line.get(indent..).unwrap_or_default()).collect();
            reader.block(number + 2, language, &text.join("\n"));
        } else if trimmed == "<!-- test: before" {
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != CLOSE);
            let text: Vec<&str> = inside.collect();
            reader.block(number + 2, "sh", &text.join("\n"));
        } else {
            reader.line(trimmed);
        }
    }
    reader.blocks
}

struct Reader {
    blocks: Vec<Block>,
    directives: Vec<Directive>,
    section: usize,
    before: String,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix(OPEN) {
            let said = rest.trim_end_matches(CLOSE).trim();
            match said.strip_prefix("files ") {
                Some(page) => self.files(page),
                None if said == "needs agentkit" => {}
                None => self.directives.push(directive(said)),
            }
            return;
        }
        if line.starts_with('#') {
            self.section += 1;
        }
        if !line.is_empty() {
            line.clone_into(&mut self.before);
        }
    }

    fn files(&mut self, page: &str) {
        let (language, text) = (FILES_OF.to_owned(), page.to_owned());
        self.blocks.push(Block { line: 0, section: self.section, language, text, directives: Vec::new() });
    }

    fn block(&mut self, line: usize, language: &str, text: &str) {
        let mut directives = std::mem::take(&mut self.directives);
        let is_named = directives.iter().any(|directive| matches!(directive, Directive::File(_)));
        if !is_named && let Some(name) = named_before(&self.before).or_else(|| named_in(text)) {
            directives.push(Directive::File(name));
        }
        self.before.clear();
        let (language, text) = (language.trim().to_owned(), format!("{text}\n"));
        self.blocks.push(Block { line, section: self.section, language, text, directives });
    }
}

fn directive(text: &str) -> Directive {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (word, rest.trim()) {
        ("skip", reason) if reason.contains(' ') => Directive::Skip(reason.to_owned()),
        ("server", "") => Directive::Server,
        ("background", until) if !until.is_empty() => Directive::Background(until.to_owned()),
        ("when", command) if !command.is_empty() => Directive::When(command.to_owned()),
        ("fails", code) if code.parse::<i32>().is_ok() => Directive::Fails(code.parse().unwrap_or(1)),
        ("file", name) if !name.is_empty() => Directive::File(name.to_owned()),
        ("parse", "") => Directive::Parse,
        ("output", "") => Directive::Output,
        _ => Directive::Unknown(text.to_owned()),
    }
}

/// "… save it as `agent.py`:"
fn named_before(line: &str) -> Option<String> {
    let name = line.strip_suffix("`:")?.rsplit('`').next()?;
    is_file(name).then(|| name.to_owned())
}

/// `# agent.py`
fn named_in(text: &str) -> Option<String> {
    let name = text.lines().next()?.strip_prefix("# ")?.trim();
    is_file(name).then(|| name.to_owned())
}

fn is_file(name: &str) -> bool {
    !name.contains([' ', '/', '*'])
        && FILES.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

#[test]
fn a_page_is_read_as_its_reader_sees_it() {
    let page = "# A\n\nSave it as `a.py`:\n\n```python\nx = 1\n```\n\n<!-- test: skip it needs a network -->\n```sh\nx\n\
                y\n```\n## B\n<!-- test: before\nz\n-->\n```yaml\n# b.yaml\nk: v\n```\n";
    let found = blocks(page);
    let seen: Vec<_> =
        found.iter().map(|block| (block.line, block.section, block.language.as_str())).collect();
    assert_eq!(seen, [(6, 1, "python"), (11, 1, "sh"), (16, 2, "sh"), (19, 2, "yaml")]);
    assert_eq!(found[0].directives, [Directive::File("a.py".to_owned())]);
    assert_eq!(found[1].directives, [Directive::Skip("it needs a network".to_owned())]);
    assert_eq!((found[1].text.as_str(), found[2].text.as_str()), ("x\ny\n", "z\n"));
    assert_eq!(found[3].directives, [Directive::File("b.yaml".to_owned())]);
}

#[test]
fn a_skip_without_a_reason_is_no_skip() {
    assert_eq!(directive("skip"), Directive::Unknown("skip".to_owned()));
    assert_eq!(directive("skipped because it is"), Directive::Unknown("skipped because it is".to_owned()));
}
