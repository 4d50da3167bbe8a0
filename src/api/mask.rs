//! Decodes update masks (AIP-134).

use prost_types::FieldMask;

use crate::{api::convert::Violations, error::Violation};

/// The fields of a resource that an update sets.
#[derive(Debug)]
pub(super) enum Mask {
    /// No mask: every populated field.
    Populated,
    /// `*`: all fields.
    All,
    /// The fields at these paths, with the fields inside them.
    Paths(Vec<String>),
}

impl Mask {
    /// Decodes a mask over the updatable `leaves`, such as `restrictions.note`. A path may also name a
    /// parent of leaves; any other path is a violation.
    pub(super) fn decode(
        mask: Option<FieldMask>,
        leaves: &[&'static str],
        violations: &mut Violations,
    ) -> Self {
        let paths = mask.map(|mask| mask.paths).unwrap_or_default();
        match paths.as_slice() {
            [] => Self::Populated,
            [star] if star == "*" => Self::All,
            named => {
                let is_known = |path: &String| leaves.iter().any(|leaf| is_within(leaf, path));
                if !named.iter().all(is_known) {
                    violations.add("update_mask", Violation::NotAnUpdatableField);
                }
                Self::Paths(paths)
            }
        }
    }

    /// Returns true if the update sets `leaf`; `populated` says if the request has a value for it.
    pub(super) fn sets(&self, leaf: &str, populated: bool) -> bool {
        match self {
            Self::Populated => populated,
            Self::All => true,
            Self::Paths(paths) => paths.iter().any(|path| is_within(leaf, path)),
        }
    }
}

/// Returns true if `leaf` is the field at `path` or inside it.
fn is_within(leaf: &str, path: &str) -> bool {
    leaf.strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAVES: &[&str] = &[
        "types",
        "restrictions.note",
        "restrictions.denied_order_types",
    ];

    fn decode(paths: &[&str]) -> (Mask, bool) {
        let mut violations = Violations::default();
        let mask = FieldMask {
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
        };
        let mask = Mask::decode(Some(mask), LEAVES, &mut violations);
        (mask, violations.is_clean())
    }

    #[test]
    fn no_mask_sets_what_is_populated_and_a_star_sets_all() {
        let (none, clean) = decode(&[]);
        assert!(clean && none.sets("types", true) && !none.sets("types", false));
        let (all, clean) = decode(&["*"]);
        assert!(clean && all.sets("types", false));
    }

    #[test]
    fn a_path_sets_what_is_inside_it() {
        let (mask, clean) = decode(&["restrictions"]);
        assert!(clean && mask.sets("restrictions.note", false) && !mask.sets("types", true));
        let (mask, clean) = decode(&["restrictions.note", "types"]);
        assert!(clean && mask.sets("types", false));
        assert!(!mask.sets("restrictions.denied_order_types", true));
    }

    #[test]
    fn a_path_that_is_no_updatable_field_is_refused() {
        for bad in [
            &["contact_id"][..],
            &["email"],
            &["etag"],
            &["type"],
            &["restrictions."],
            &["restrictions.n"],
            &[""],
            &["*", "types"],
            &["types", "nonsense"],
        ] {
            assert!(!decode(bad).1, "{bad:?}");
        }
    }
}
