use std::collections::{HashMap, HashSet};
use std::sync::{OnceLock, PoisonError, RwLock};

use super::names::Others;
use super::{Chain, Names};
use crate::model::Name;

/// Highest number of cached routes, because a store may contain any number of types.
const ROUTES_MAX: usize = 10_000;

/// How the events of one category are lifted for one reader.
#[derive(Debug, Default)]
pub struct Lift {
    chain: Chain,
    names: Names,
    routes: RwLock<HashMap<Name, Vec<(u32, Route)>>>,
    leads_to: OnceLock<HashMap<Name, Box<[Name]>>>,
}

/// The next target of an event of some type and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The reader, under this name and version.
    Reader(Name, u32),
    /// This step of the chain.
    Step(usize),
    /// None: the reader declares only this older version.
    TooNew(u32),
    /// None: the reader declares neither the type nor a type that it leads to.
    Unknown,
    /// None: the reader leaves out events that it does not declare.
    LeftOut,
}

impl Lift {
    /// Combines a chain with the names that a reader declares.
    pub fn new(chain: Chain, names: Names) -> Self {
        Self {
            chain,
            names,
            routes: RwLock::default(),
            leads_to: OnceLock::new(),
        }
    }

    /// The steps.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The names that the reader declares.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Returns the next target of an event.
    pub fn route(&self, name: &Name, version: u32) -> Route {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(name).and_then(|routes| {
            let mut routes = routes.iter();
            routes.find(|(other, _)| *other == version)
        });
        if let Some((_, route)) = found {
            return route.clone();
        }
        drop(known);
        let route = self.find(name, version);
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < ROUTES_MAX {
            let routes = known.entry(name.clone()).or_default();
            if routes.len() < ROUTES_MAX && routes.iter().all(|(other, _)| *other != version) {
                routes.push((version, route.clone()));
            }
        }
        route
    }

    /// Returns every type, as stored or as the result of an earlier step, that may lead to a type.
    pub fn sources(&self, canonical: &Name) -> Vec<Name> {
        let mut found = vec![canonical.clone()];
        let mut index = 0;
        while let Some(name) = found.get(index).cloned() {
            index += 1;
            let aliases = self.names.aliases(&name).cloned();
            let leads_here = self.chain.links().iter().filter(|link| {
                let mut to = link.step().to.iter();
                to.any(|(result, _)| *self.names.canonical(result) == name)
            });
            let sources = leads_here.map(|link| link.step().name.clone());
            let all: Vec<Name> = aliases.chain(sources).collect();
            for name in all {
                let canonical = self.names.canonical(&name).clone();
                for name in [name, canonical] {
                    if !found.contains(&name) {
                        found.push(name);
                    }
                }
            }
        }
        found
    }

    /// Returns all other names under which an event stored with this name, at any version, may be
    /// requested. This is the opposite of [`sources`](Self::sources). Empty when there are none.
    pub fn leads_to(&self, stored: &Name) -> &[Name] {
        let all = self.leads_to.get_or_init(|| self.all_that_lead());
        all.get(stored).map_or(&[], |names| &**names)
    }

    fn all_that_lead(&self) -> HashMap<Name, Box<[Name]>> {
        let aliased = self.names.aliased();
        let aliased = aliased.flat_map(|(alias, name)| [alias, name]);
        let steps = self.chain.links().iter().map(|link| link.step());
        let lifted = steps.flat_map(|step| {
            let results = step.to.iter().map(|(result, _)| result);
            results.chain([&step.name])
        });
        let names: HashSet<&Name> = aliased.chain(lifted).collect();
        let mut edges: HashMap<&Name, Vec<&Name>> = HashMap::new();
        for link in self.chain.links() {
            let from = self.names.canonical(&link.step().name);
            let to = link.step().to.iter().map(|(to, _)| to);
            edges.entry(from).or_default().extend(to);
        }
        let found = names.into_iter();
        let found = found.map(|name| (name.clone(), self.reachable(name, &edges)));
        found.filter(|(_, all)| all.len() > 1).collect()
    }

    fn reachable<'a>(
        &'a self,
        stored: &'a Name,
        edges: &HashMap<&'a Name, Vec<&'a Name>>,
    ) -> Box<[Name]> {
        let (mut found, mut seen) = (vec![stored], HashSet::from([stored]));
        let mut index = 0;
        while let Some(name) = found.get(index).copied() {
            index += 1;
            let canonical = self.names.canonical(name);
            let aliases = self.names.aliases(canonical);
            let results = edges.get(canonical).into_iter().flatten().copied();
            for name in [canonical].into_iter().chain(aliases).chain(results) {
                if seen.insert(name) {
                    found.push(name);
                }
            }
        }
        found.into_iter().cloned().collect()
    }

    fn find(&self, name: &Name, version: u32) -> Route {
        let strict = self.strictly(name, version, &mut HashMap::new());
        let (Route::TooNew(_) | Route::Unknown) = strict else {
            return strict;
        };
        match self.names.others() {
            Others::Refused => return strict,
            Others::LeftOut if strict == Route::Unknown => return Route::LeftOut,
            Others::LeftOut => return strict,
            Others::Taken => {}
        }
        let canonical = self.names.canonical(name);
        match self.chain.next(&self.names, canonical, version) {
            Some(step) if strict == Route::Unknown => Route::Step(step),
            _ => Route::Reader(canonical.clone(), version),
        }
    }

    /// Returns the route of an event if the reader accepts only declared types: up to the last step
    /// whose result it declares. `seen` contains the routes found so far, and ends cycles.
    fn strictly(&self, name: &Name, version: u32, seen: &mut Routes) -> Route {
        let canonical = self.names.canonical(name);
        let key = (canonical.clone(), version);
        if let Some(route) = seen.get(&key) {
            return route.clone();
        }
        seen.insert(key.clone(), Route::Unknown);
        let named = self.names.version(canonical.as_str());
        let here = match named {
            Some(named) if version <= named => Route::Reader(canonical.clone(), named),
            Some(named) => Route::TooNew(named),
            None if self.names.is_open(canonical) => Route::Reader(canonical.clone(), version),
            None => Route::Unknown,
        };
        let next = self.chain.next(&self.names, canonical, version);
        let on = next.filter(|step| self.goes_on(*step, named, seen));
        let route = on.map_or(here, Route::Step);
        seen.insert(key, route.clone());
        route
    }

    /// Whether a step is taken. An event that the reader declares at a later version must continue.
    /// An event that it declares at this version continues only if the reader declares all its
    /// results.
    fn goes_on(&self, step: usize, named: Option<u32>, seen: &mut Routes) -> bool {
        let step = self.chain.link(step).step();
        let mut arrives = |(name, version): &(Name, u32)| {
            let route = self.strictly(name, *version, seen);
            !matches!(route, Route::TooNew(_) | Route::Unknown)
        };
        if named.is_none_or(|named| step.from_version < named) {
            step.to.is_empty() || step.to.iter().any(arrives)
        } else {
            !step.to.is_empty() && step.to.iter().all(&mut arrives)
        }
    }
}

type Routes = HashMap<(Name, u32), Route>;
