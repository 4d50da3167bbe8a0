//! The paths that a source file names, read from its syntax.

use syn::visit::{self, Visit};

/// Collects every path that a file names, resolved as far as its text tells.
pub(crate) struct Names {
    module: Vec<String>,
    paths: Vec<String>,
    has_unit_tests: bool,
}

impl Names {
    /// Every path of a file, those of its unit tests included.
    pub(crate) fn of(module: &str, source: &str) -> Vec<String> {
        Self::read(module, source, true)
    }

    /// The paths of what is shipped.
    pub(crate) fn without_unit_tests(module: &str, source: &str) -> Vec<String> {
        Self::read(module, source, false)
    }

    fn read(module: &str, source: &str, has_unit_tests: bool) -> Vec<String> {
        let file = syn::parse_file(source).unwrap_or_else(|error| panic!("{module}: {error}"));
        let mut names = Self {
            module: module.split("::").map(str::to_owned).collect(),
            paths: Vec::new(),
            has_unit_tests,
        };
        names.visit_file(&file);
        names.paths
    }

    fn push(&mut self, segments: &[String]) {
        let mut rest = segments;
        let mut base: Option<Vec<String>> = None;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" | "contact_service" => base = Some(Vec::new()),
                "self" if base.is_none() => base = Some(self.module.clone()),
                "super" => {
                    let mut parent = base.unwrap_or_else(|| self.module.clone());
                    parent.pop();
                    base = Some(parent);
                }
                _ => break,
            }
            rest = others;
        }
        let named = rest.iter().filter(|segment| *segment != "self").cloned();
        let path: Vec<String> = match base {
            Some(base) => ["crate".to_owned()]
                .into_iter()
                .chain(base)
                .chain(named)
                .collect(),
            None => named.collect(),
        };
        self.paths.push(path.join("::"));
    }

    fn push_use(&mut self, tree: &syn::UseTree, mut before: Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.push_use(&path.tree, before);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.push_use(tree, before.clone());
                }
            }
            syn::UseTree::Name(name) => {
                before.push(name.ident.to_string());
                self.push(&before);
            }
            syn::UseTree::Rename(rename) => {
                before.push(rename.ident.to_string());
                // A renamed crate would hide everything that is named through it.
                let is_whole_crate = before == ["crate"] || before == ["crate", "self"];
                before.extend(is_whole_crate.then(|| "*".to_owned()));
                self.push(&before);
            }
            syn::UseTree::Glob(_) => {
                before.push("*".to_owned());
                self.push(&before);
            }
        }
    }

    /// The arguments of macros are no syntax yet: their text is searched for paths.
    fn push_tokens(&mut self, tokens: &str) {
        let joined = tokens.replace(" :: ", "::").replace(":: ", "::");
        for word in joined.split(|c: char| !c.is_alphanumeric() && !"_:".contains(c)) {
            if word.contains("::") {
                let segments: Vec<_> = word.split("::").filter(|part| !part.is_empty()).collect();
                let segments: Vec<_> = segments.into_iter().map(str::to_owned).collect();
                self.push(&segments);
            }
        }
    }
}

impl Visit<'_> for Names {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.push_use(&item.tree, Vec::new());
    }

    fn visit_item_extern_crate(&mut self, item: &syn::ItemExternCrate) {
        self.push(&[item.ident.to_string()]);
    }

    fn visit_item_mod(&mut self, item: &syn::ItemMod) {
        if !self.has_unit_tests && item.attrs.iter().any(is_for_tests) {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments = path.segments.iter();
        let segments: Vec<_> = segments.map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.push(&segments);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.push_tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &syn::MetaList) {
        self.push_tokens(&list.tokens.to_string());
        visit::visit_meta_list(self, list);
    }
}

fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else {
        return false;
    };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}
