//! What one file declares, imports and names, read from its tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::rust::{Token, is_word};

/// Words before the name of what they define.
const DEFINING: [&str; 8] = ["fn", "struct", "enum", "union", "trait", "type", "const", "static"];

/// A file, by the modules in it; the file itself is the one without a name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Source {
    pub(super) modules: BTreeMap<Vec<String>, Names>,
    /// Modules that are for tests only, in files of their own.
    pub(super) tests: Vec<Vec<String>>,
}

/// What stands in one module.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Names {
    /// By the name that it has here.
    pub(super) imports: BTreeMap<String, Vec<Import>>,
    pub(super) globs: Vec<Import>,
    /// Paths of two names and more, outside of imports, with their lines.
    pub(super) paths: Vec<(Vec<String>, usize)>,
    pub(super) defined: BTreeSet<String>,
}

/// One leaf of a `use`.
#[derive(Debug, PartialEq)]
pub(super) struct Import {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    /// Others may name it through this module.
    pub(super) public: bool,
}

impl Source {
    /// Reads the tokens of a file; what is marked `#[cfg(test)]` is passed over.
    pub(super) fn read(tokens: &[Token<'_>]) -> Self {
        let mut reader = Reader { tokens, at: 0, scopes: Vec::new(), source: Self::default() };
        reader.names();
        while reader.at < tokens.len() {
            reader.step();
        }
        reader.source
    }
}

struct Reader<'t, 'c> {
    tokens: &'t [Token<'c>],
    at: usize,
    /// For each open brace, the module that it opened.
    scopes: Vec<Option<String>>,
    source: Source,
}

impl<'c> Reader<'_, 'c> {
    fn text(&self, at: usize) -> &'c str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn line(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(0, |token| token.line)
    }

    fn before(&self) -> &'c str {
        self.at.checked_sub(1).map_or("", |at| self.text(at))
    }

    fn module(&self) -> Vec<String> {
        self.scopes.iter().flatten().cloned().collect()
    }

    fn names(&mut self) -> &mut Names {
        let module = self.module();
        self.source.modules.entry(module).or_default()
    }

    fn step(&mut self) {
        let text = self.text(self.at);
        match text {
            "#" if self.is_for_tests() => self.pass_over_item(),
            "{" => self.open(None),
            "}" => {
                self.scopes.pop();
                self.at += 1;
            }
            "mod" if self.text(self.at + 2) == "{" => {
                let name = self.text(self.at + 1).to_owned();
                self.at += 2;
                self.open(Some(name));
                self.names();
            }
            "use" if self.text(self.at + 1) != "<" && self.before() != "." => self.import(),
            _ if DEFINING.contains(&text) && self.text(self.at + 1).starts_with(is_word) => {
                let name = self.text(self.at + 1).to_owned();
                self.names().defined.insert(name);
                self.at += 1;
            }
            _ if text.starts_with(is_word) && self.before() != "::" && self.text(self.at + 1) == "::" => {
                self.path()
            }
            _ => self.at += 1,
        }
    }

    fn open(&mut self, module: Option<String>) {
        self.scopes.push(module);
        self.at += 1;
    }

    fn is_for_tests(&self) -> bool {
        let marked = ["#", "[", "cfg", "(", "test", ")", "]"];
        marked.iter().enumerate().all(|(offset, text)| self.text(self.at + offset) == *text)
    }

    /// Moves behind the item after an attribute.
    fn pass_over_item(&mut self) {
        while self.text(self.at) == "#" {
            self.at += 1;
            self.pass_over_group();
        }
        let start = self.at;
        let words =
            |reader: &Self| reader.tokens[start..].iter().take(6).map(|token| token.text).collect::<Vec<_>>();
        let words = words(self);
        if let Some(at) = words.iter().position(|word| *word == "mod")
            && words.get(at + 2) == Some(&";")
        {
            let mut module = self.module();
            module.push(words[at + 1].to_owned());
            self.source.tests.push(module);
        }
        let ends_with_brace = !words.contains(&"use");
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                ";" => {
                    self.at += 1;
                    return;
                }
                "}" => return,
                "{" if ends_with_brace => return self.pass_over_group(),
                "{" | "(" | "[" => self.pass_over_group(),
                _ => self.at += 1,
            }
        }
    }

    /// Moves from an opening bracket behind the one that closes it.
    fn pass_over_group(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    fn path(&mut self) {
        let line = self.line(self.at);
        let mut path = Vec::new();
        loop {
            path.push(self.text(self.at).to_owned());
            self.at += 1;
            if self.text(self.at) != "::" || !self.text(self.at + 1).starts_with(is_word) {
                break;
            }
            self.at += 1;
        }
        if path.len() > 1 || ["crate", "self", "super"].contains(&path[0].as_str()) {
            self.names().paths.push((path, line));
        }
    }

    fn import(&mut self) {
        let public = ["pub", ")"].contains(&self.before());
        self.at += 1;
        self.tree(&[], public);
    }

    /// One branch of a `use`, up to the `,`, `}` or `;` behind it.
    fn tree(&mut self, above: &[String], public: bool) {
        let line = self.line(self.at);
        let mut path = above.to_vec();
        let mut name = None;
        loop {
            match self.text(self.at) {
                "::" => self.at += 1,
                "as" => {
                    name = Some(self.text(self.at + 1).to_owned());
                    self.at += 2;
                }
                "*" => {
                    self.at += 1;
                    self.names().globs.push(Import { path, line, public });
                    return;
                }
                "{" => {
                    self.at += 1;
                    while !["}", ""].contains(&self.text(self.at)) {
                        let start = self.at;
                        self.tree(&path, public);
                        // A macro's `$name` is no name; whatever stands there must not hold up the reader.
                        if self.text(self.at) == "," || self.at == start {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "self" if !path.is_empty() => self.at += 1,
                word if word.starts_with(is_word) => {
                    path.push(word.to_owned());
                    self.at += 1;
                }
                _ => break,
            }
        }
        if let Some(name) = name.or_else(|| path.last().cloned()) {
            self.names().imports.entry(name).or_default().push(Import { path, line, public });
        }
    }
}
