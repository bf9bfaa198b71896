//! The decision whether a person may connect to a database.
//!
//! Promises: a [`Permit`] is made only here; the decision is a function of identity, resource and what was asked.
//! Deliberately not here: statements; they are decided one by one, elsewhere.

use super::role_mapping::RoleMapping;
use crate::identity::verify::Identity;

/// What a person wants to reach.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// The name of the `[[database]]`.
    pub name: &'a str,
    /// Who may be which role, in order.
    pub mappings: &'a [RoleMapping],
}

/// The answer.
#[derive(Debug)]
pub enum Decision {
    /// She may, as this role.
    Permit(Permit),
    /// She may not.
    Forbid(Denial),
}

/// The right to connect as one role. Only [`decide`] makes one.
#[derive(Debug)]
pub struct Permit {
    role: String,
    mapping: usize,
    rule: String,
}

impl Permit {
    /// The role.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Which of the resource's mappings gave it.
    #[must_use]
    pub const fn mapping(&self) -> usize {
        self.mapping
    }

    /// The rule that gave it.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// Why a person may not connect, in words she can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The rule, and what was missing.
    pub reason: String,
    /// What to do now.
    pub remedy: String,
    /// The rules that were looked at.
    pub rules: Vec<String>,
}

/// Decides by role mappings: the first that matches, or the one asked for if a mapping gives it.
#[must_use]
pub fn decide(identity: &Identity, resource: &Resource<'_>, asked: Option<&str>) -> Decision {
    by_groups(identity.groups(), resource, asked)
}

fn by_groups(groups: &[String], resource: &Resource<'_>, asked: Option<&str>) -> Decision {
    let wanted = |mapping: &RoleMapping| asked.is_none_or(|role| role == mapping.role);
    let candidates = || resource.mappings.iter().enumerate().filter(|(_, mapping)| wanted(mapping));
    let found = candidates().find_map(|(at, mapping)| Some((at, mapping, mapping.matching(groups)?)));
    if let Some((mapping, RoleMapping { role, .. }, group)) = found {
        let rule = format!("database.role {role} from group {group}");
        return Decision::Permit(Permit { role: role.clone(), mapping, rule });
    }
    let rules: Vec<String> = candidates().map(|(_, mapping)| format!("database.role {}", mapping.role)).collect();
    let mut missing: Vec<&str> =
        candidates().flat_map(|(_, mapping)| mapping.group_names.iter().map(String::as_str)).collect();
    missing.sort_unstable();
    missing.dedup();
    let reason = match (asked, missing.as_slice()) {
        (Some(role), []) => format!("role \"{role}\" is not offered for database \"{}\"", resource.name),
        (None, []) => format!("no group has a role in database \"{}\"", resource.name),
        (Some(role), groups) => {
            format!("role \"{role}\" needs one of the groups {}, and you are in none", list(groups))
        }
        (None, groups) => format!("one of the groups {} is needed, and you are in none", list(groups)),
    };
    let remedy = match missing.as_slice() {
        [] => "Ask the operator of this proxy which roles there are.".to_owned(),
        groups => format!("Ask for membership of {} at your identity provider, then connect again.", list(groups)),
    };
    Decision::Forbid(Denial { reason, remedy, rules })
}

fn list(groups: &[&str]) -> String {
    groups.iter().map(|group| format!("\"{group}\"")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mapping(role: &str, groups: &[&str]) -> RoleMapping {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        RoleMapping { role: role.to_owned(), group_names: groups.clone(), groups }
    }

    fn decided(groups: &[&str], asked: Option<&str>) -> Result<String, Denial> {
        let mappings = [mapping("rw", &["on-call"]), mapping("ro", &["engineering", "support"])];
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        match by_groups(&groups, &Resource { name: "payments", mappings: &mappings }, asked) {
            Decision::Permit(permit) => Ok(permit.role),
            Decision::Forbid(denial) => Err(denial),
        }
    }

    #[test]
    fn the_first_mapping_that_matches_wins() {
        let check = |groups: &[&str], asked: Option<&str>, expected: Option<&str>| {
            assert_eq!(decided(groups, asked).ok().as_deref(), expected, "{groups:?} {asked:?}");
        };
        check(&["engineering", "on-call"], None, Some("rw"));
        check(&["engineering"], None, Some("ro"));
        check(&["engineering", "on-call"], Some("ro"), Some("ro"));
        check(&["engineering"], Some("rw"), None);
        check(&["on-call"], Some("postgres"), None);
        check(&["ON-CALL"], None, None);
        check(&[], None, None);
    }

    #[test]
    fn a_denial_names_the_missing_group() {
        let denial = decided(&[], None).unwrap_err();
        assert!(denial.reason.contains("\"engineering\" or \"on-call\" or \"support\""), "{}", denial.reason);
        let denial = decided(&["engineering"], Some("rw")).unwrap_err();
        assert!(denial.reason.contains("role \"rw\" needs one of the groups \"on-call\""), "{}", denial.reason);
    }

    proptest! {
        #[test]
        fn without_a_mapping_nobody_gets_in(groups in proptest::collection::vec("[a-z]{1,8}", 0..5)) {
            let resource = Resource { name: "payments", mappings: &[] };
            prop_assert!(matches!(by_groups(&groups, &resource, None), Decision::Forbid(_)));
        }
    }
}
