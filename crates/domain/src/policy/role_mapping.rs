//! From groups to one PostgreSQL role.
//!
//! Promises: the first mapping that matches wins; a role that was asked for is given only if a mapping gives it.
//! Deliberately not here: the credentials of the role.

/// One `[[database.role]]`: any of the groups gives the role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleMapping {
    /// The PostgreSQL role.
    pub role: String,
    /// Groups as the IdP calls them.
    pub groups: Vec<String>,
    /// The same groups as people call them, for messages.
    pub group_names: Vec<String>,
}

impl RoleMapping {
    /// The group of hers that gives her this role, if there is one.
    #[must_use]
    pub fn matching<'a>(&self, groups: &'a [String]) -> Option<&'a str> {
        groups.iter().find(|group| self.groups.contains(group)).map(String::as_str)
    }
}
