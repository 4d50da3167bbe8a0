//! Circles of files that name one another, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};

use super::names::Names;

type Graph = BTreeMap<String, BTreeSet<String>>;

/// The circles among `files`, each a module with its source: groups of files of which every one
/// reaches every other. Unit tests may name what they test.
pub(crate) fn circles(files: &[(String, String)]) -> Vec<Vec<String>> {
    let modules: BTreeSet<&str> = files.iter().map(|(module, _)| module.as_str()).collect();
    let graph: Graph = files
        .iter()
        .map(|(module, source)| (module.clone(), named_files(module, source, &modules)))
        .collect();
    let reached: Graph = graph
        .keys()
        .map(|module| (module.clone(), reachable(module, &graph)))
        .collect();
    let leads_to = |from: &str, to: &str| reached.get(from).is_some_and(|all| all.contains(to));
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for module in graph.keys().filter(|module| leads_to(module, module)) {
        let others = graph.keys();
        let circle = others.filter(|other| leads_to(module, other) && leads_to(other, module));
        found.insert(circle.cloned().collect());
    }
    found.into_iter().collect()
}

/// The other files that a file names: a path belongs to the file of its longest prefix.
fn named_files(module: &str, source: &str, modules: &BTreeSet<&str>) -> BTreeSet<String> {
    let paths = Names::without_unit_tests(module, source).into_iter();
    let children = paths.map(|path| match path.strip_prefix("crate::") {
        Some(inside) => inside.to_owned(),
        None => format!("{module}::{path}"),
    });
    let files = children.filter_map(|path| {
        let mut prefix = path.as_str();
        while !modules.contains(prefix) {
            prefix = prefix.rsplit_once("::")?.0;
        }
        Some(prefix.to_owned())
    });
    files.filter(|file| file != module).collect()
}

fn reachable(module: &str, graph: &Graph) -> BTreeSet<String> {
    let mut waiting: Vec<&String> = graph.get(module).into_iter().flatten().collect();
    let mut reached = BTreeSet::new();
    while let Some(next) = waiting.pop() {
        if reached.insert(next.clone()) {
            waiting.extend(graph.get(next).into_iter().flatten());
        }
    }
    reached
}
