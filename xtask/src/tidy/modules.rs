//! Which file of a crate uses which, as the paths in its code tell it.
//!
//! A path leads to the file that defines what it names: re-exports are followed. Declaring a module or passing on what a
//! module below defines is no use of it, and neither is what only tests do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::paths::{Names, Source};
use super::rust::{code_of, tokens};
use crate::repo::Repo;

/// How often a name may be passed on before it is given up: an import of `Kind::Kind` may lead to itself, ever longer.
const PASSED_ON_MAX: usize = 32;

/// Where in the code `from` uses `to`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) line: usize,
}

/// The code of one crate.
#[derive(Debug)]
pub(super) struct Crate {
    /// The folder that holds its root, with a `/` at its end.
    pub(super) folder: String,
    /// The first use for each pair of files.
    pub(super) uses: Vec<Use>,
    pub(super) files: Vec<String>,
}

impl Crate {
    /// Reads all files below `folder`.
    pub(super) fn read(repo: &Repo, files: &BTreeSet<String>, folder: String) -> Result<Self> {
        let files = files.iter().filter(|path| path.starts_with(&folder) && path.ends_with(".rs"));
        let texts = files.map(|path| Ok((path.clone(), repo.read(path)?))).collect::<Result<_>>()?;
        Ok(Self::of(folder, &texts))
    }

    /// The same for texts at hand, by their paths.
    pub(super) fn of(folder: String, texts: &BTreeMap<String, String>) -> Self {
        let codes: Vec<_> = texts.iter().map(|(path, text)| (path.as_str(), code_of(text))).collect();
        let sources = codes.iter().map(|(path, code)| {
            let module = module_of(path.strip_prefix(&folder).unwrap_or(path));
            (*path, module, Source::read(&tokens(code)))
        });
        let modules = Modules::new(sources.collect());
        let files = modules.sources.iter().map(|(path, ..)| (*path).to_owned()).collect();
        Self { uses: modules.uses(), files, folder }
    }
}

/// The names on the way to the module that a file holds: `a/b.rs` and `a/b/mod.rs` are both `a`, `b`.
fn module_of(file: &str) -> Vec<String> {
    let file = file.trim_end_matches(".rs");
    let mut names: Vec<String> = file.split('/').map(str::to_owned).collect();
    let is_root = names.len() == 1 && ["lib", "main"].contains(&file);
    if is_root || names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

/// The modules of a crate.
struct Modules<'a> {
    sources: Vec<(&'a str, Vec<String>, Source)>,
    /// By its names from the root: the place of its file in `sources`.
    files: BTreeMap<Vec<String>, usize>,
}

impl<'a> Modules<'a> {
    fn new(mut sources: Vec<(&'a str, Vec<String>, Source)>) -> Self {
        let tests: BTreeSet<Vec<String>> = sources
            .iter()
            .flat_map(|(_, module, source)| source.tests.iter().map(|below| joined(module, below)))
            .collect();
        sources.retain(|(_, module, _)| (0..=module.len()).all(|length| !tests.contains(&module[..length])));
        let mut files = BTreeMap::new();
        for (at, (_, module, source)) in sources.iter().enumerate() {
            for inside in source.modules.keys() {
                files.insert(joined(module, inside), at);
            }
        }
        Self { sources, files }
    }

    fn uses(&self) -> Vec<Use> {
        let mut first: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (from, module, source) in &self.sources {
            for (inside, names) in &source.modules {
                let here = joined(module, inside);
                for (path, line) in self.used(&here, names) {
                    if let Some(to) = self.file_of(&path, &mut BTreeSet::new()).filter(|to| to != from) {
                        let known = first.entry((from, to)).or_insert(line);
                        *known = line.min(*known);
                    }
                }
            }
        }
        let owned = |((from, to), line): ((&str, &str), usize)| Use {
            from: from.to_owned(),
            to: to.to_owned(),
            line,
        };
        first.into_iter().map(owned).collect()
    }

    /// The paths from the root that a module uses.
    ///
    /// What it only passes on from below itself is left out, and so are imports of modules: the paths through them count.
    fn used(&self, here: &[String], names: &Names) -> Vec<(Vec<String>, usize)> {
        let imported = names.imports.values().flatten().filter_map(|import| {
            let path = self.absolute(here, &import.path)?;
            let is_passed_on = import.public && path.starts_with(here);
            (!is_passed_on && !self.is_module_alone(&path)).then_some((path, import.line))
        });
        let globs = names.globs.iter().filter_map(|glob| {
            let path = self.absolute(here, &glob.path)?;
            (!glob.public || !path.starts_with(here)).then_some((path, glob.line))
        });
        let named = names.paths.iter().filter_map(|(path, line)| Some((self.absolute(here, path)?, *line)));
        imported.chain(globs).chain(named).collect()
    }

    /// Whether a path names a module, and no function or type beside it.
    fn is_module_alone(&self, path: &[String]) -> bool {
        let Some((name, above)) = path.split_last() else { return true };
        let is_item = self
            .names_of(above)
            .is_some_and(|names| names.defined.contains(name) || names.imports.contains_key(name));
        self.files.contains_key(path) && !is_item
    }

    /// A path as it is written in the module `here`, from the root; `None` where it leads to another crate.
    fn absolute(&self, here: &[String], path: &[String]) -> Option<Vec<String>> {
        self.absolute_over(here, path, PASSED_ON_MAX)
    }

    /// The same over at most so many imports.
    fn absolute_over(&self, here: &[String], path: &[String], imports: usize) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some(joined(here, rest)),
            "super" => {
                let mut above = here;
                let mut path = path;
                while let Some((_, rest)) = path.split_first().filter(|(first, _)| *first == "super") {
                    above = above.split_last()?.1;
                    path = rest;
                }
                Some(joined(above, path))
            }
            _ if self.files.contains_key(&joined(here, &path[..1])) => Some(joined(here, path)),
            name => {
                let imported = self.names_of(here)?.imports.get(name)?;
                let left = imports.checked_sub(1)?;
                let base = imported.iter().find_map(|import| self.absolute_over(here, &import.path, left))?;
                Some(joined(&base, rest))
            }
        }
    }

    fn names_of(&self, module: &[String]) -> Option<&Names> {
        let (_, root, source) = self.sources.get(*self.files.get(module)?)?;
        source.modules.get(&module[root.len()..])
    }

    /// The file that defines what a path from the root names.
    fn file_of(&self, path: &[String], seen: &mut BTreeSet<Vec<String>>) -> Option<&'a str> {
        if seen.len() >= PASSED_ON_MAX || !seen.insert(path.to_vec()) {
            return None;
        }
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let at = *self.files.get(module)?;
        let (file, ..) = self.sources.get(at)?;
        if let (Some(names), Some((name, rest))) = (self.names_of(module), rest.split_first()) {
            let imports = names.imports.get(name).into_iter().flatten();
            let passed = imports.map(|import| joined(&import.path, rest)).chain(
                names.globs.iter().filter_map(|glob| {
                    let path = joined(&glob.path, std::slice::from_ref(name));
                    (!names.defined.contains(name) && self.defines(&self.absolute(module, &path)?))
                        .then(|| joined(&path, rest))
                }),
            );
            for path in passed.collect::<Vec<_>>() {
                if let Some(found) = self.absolute(module, &path).and_then(|path| self.file_of(&path, seen)) {
                    return Some(found);
                }
            }
        }
        Some(file)
    }

    /// Whether the module before the last name of a path defines that name, or takes it in from elsewhere.
    fn defines(&self, path: &[String]) -> bool {
        let Some((name, module)) = path.split_last() else { return false };
        self.names_of(module)
            .is_some_and(|names| names.defined.contains(name) || names.imports.contains_key(name))
            || self.files.contains_key(path)
    }
}

fn joined(module: &[String], below: &[String]) -> Vec<String> {
    [module, below].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What uses what, for files of the made-up crate `src/`.
    fn uses(files: &[(&str, &str)]) -> Vec<String> {
        let texts = files.iter().map(|(path, text)| (format!("src/{path}"), (*text).to_owned())).collect();
        let read = Crate::of("src/".to_owned(), &texts);
        let bare = |path: &str| path.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
        read.uses.iter().map(|one| format!("{} → {}:{}", bare(&one.from), bare(&one.to), one.line)).collect()
    }

    #[test]
    fn a_path_leads_to_the_file_of_its_module() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            ("a.rs", "use crate::b::{self, B};\nfn f() { crate::c::inner::g(); std::mem::take(b) }\n"),
            ("b/mod.rs", "mod deep;\npub struct B;\nfn b() {}\n"),
            ("b/deep.rs", "use super::B;\n\nfn f() { super::super::c::C }\n"),
            ("c.rs", "pub mod inner { use super::C; }\npub struct C;\n"),
        ];
        assert_eq!(uses(&files), ["a → b/mod:1", "a → c:2", "b/deep → b/mod:1", "b/deep → c:3"]);
    }

    #[test]
    fn a_name_that_is_passed_on_leads_to_where_it_is_defined() {
        let files = [
            ("main.rs", "mod a;\nmod b;\nuse self::a::Deep;\nfn main() { b::run() }\n"),
            ("a/mod.rs", "mod deep;\nmod other;\npub(crate) use deep::Deep;\npub use other::*;\n"),
            ("a/deep.rs", "use super::Other;\npub struct Deep;\n"),
            ("a/other.rs", "pub struct Other;\n"),
            ("b.rs", "use crate::a::Deep as D;\nuse crate::Deep;\npub fn run() {}\n"),
        ];
        assert_eq!(uses(&files), ["a/deep → a/other:1", "b → a/deep:1", "main → a/deep:3", "main → b:4"]);
    }

    #[test]
    fn an_imported_module_is_used_where_a_path_goes_through_it() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n"),
            ("a.rs", "use crate::b;\nuse b::deep as d;\nfn f() {\n    b::Shown;\n    d::g();\n}\n"),
            ("b/mod.rs", "pub mod deep;\nmod other;\npub use other::Shown;\n"),
            ("b/deep.rs", "pub fn g() {}\n"),
            ("b/other.rs", "pub struct Shown;\n"),
        ];
        assert_eq!(uses(&files), ["a → b/deep:5", "a → b/other:4"]);
    }

    #[test]
    fn an_import_that_leads_to_itself_ends() {
        let files =
            [("lib.rs", "mod a;\n"), ("a.rs", "use self::Kind::Kind;\nfn f() { self::Kind::Kind }\n")];
        assert_eq!(uses(&files), [""; 0]);
    }

    #[test]
    fn declarations_words_and_tests_are_no_use() {
        let files = [
            ("lib.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod c;\n"),
            ("a.rs", "//! crate::b\npub(in crate::b) struct A;\n#[cfg(test)]\nmod tests { use crate::b; }\n"),
            ("b.rs", "#[cfg(test)]\nuse crate::{a, c};\nfn f() { \"crate::a\" }\n"),
            ("c.rs", "use crate::a;\n"),
        ];
        assert_eq!(uses(&files), ["a → b:2"]);
    }
}
