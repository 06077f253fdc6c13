//! One lane with a hold queue and a gate, as small as they can be, around [`Shares`].

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::request::{Estimate, Flow, ModelId, Priority};

/// Tenants of a test, by number; some have a weight that is not 1.
struct Bench {
    shares: Shares,
    lane: Lane,
    weights: Vec<f64>,
    /// By tenant and class: what each waits for, in order of rank, and what it takes, seconds.
    backlog: BTreeMap<(usize, bool), BTreeMap<String, (WorkItem, f64)>>,
    /// In the hold queue, by the rank there: the request and its tenant.
    held: BTreeSet<(String, RequestId, usize)>,
    places: usize,
    urgent_places: bool,
    shared_places: bool,
    arrivals: usize,
    /// The tenant and the seconds of all that was chosen, and of all that was called, in order.
    chosen: Vec<(usize, f64, Class)>,
    called: Vec<RequestId>,
    seconds: HashMap<RequestId, f64>,
}

impl Bench {
    fn new(weights: &[f64], places: usize) -> Self {
        Self {
            shares: Shares::default(),
            lane: Lane::new("default", "us-east-1", &ModelId::new("m").unwrap()),
            weights: weights.to_vec(),
            backlog: BTreeMap::new(),
            held: BTreeSet::new(),
            places,
            urgent_places: true,
            shared_places: true,
            arrivals: 0,
            chosen: Vec::new(),
            called: Vec::new(),
            seconds: HashMap::new(),
        }
    }

    fn arrives(&mut self, tenant: usize, priority: Priority, seconds: f64) -> RequestId {
        let urgent = priority == Priority::URGENT;
        let rank = format!("{}#{}#{:08}", u8::from(!urgent), priority.number(), self.arrivals);
        let id = RequestId::new(format!("{tenant}-{}", self.arrivals)).unwrap();
        self.arrivals += 1;
        self.seconds.insert(id.clone(), seconds);
        let item = WorkItem {
            id: id.clone(),
            sort: rank.clone(),
            flow: Flow { lane: self.lane.clone(), tenant: name(tenant), urgent, use_case: None },
            priority,
            rank: rank.clone(),
            estimate: Estimate::default(),
            deadline: None,
        };
        self.backlog.entry((tenant, urgent)).or_default().insert(rank, (item, seconds));
        id
    }

    fn floods(&mut self, tenant: usize, requests: usize) {
        for _ in 0..requests {
            self.arrives(tenant, Priority::NORMAL, 1.0);
        }
    }

    fn waits(&self, tenant: usize) -> bool {
        self.backlog.iter().any(|((of, _), items)| *of == tenant && !items.is_empty())
    }

    fn observe(&mut self) {
        let held: HashSet<RequestId> = self.held.iter().map(|(_, id, _)| id.clone()).collect();
        let waits = self.backlog.values().any(|items| !items.is_empty());
        self.shares.observe(|id| held.contains(id), &HashMap::new(), |_| waits);
    }

    /// One choice; whether there was any.
    fn choose(&mut self) -> bool {
        let fronts: Vec<_> =
            self.backlog.iter().filter_map(|(key, items)| Some((*key, items.values().next()?.clone()))).collect();
        let heads: Vec<_> =
            fronts.iter().map(|((tenant, _), (item, _))| Head { item, weight: self.weights[*tenant] }).collect();
        let choice = self.shares.choose(&self.lane, &heads, self.urgent_places, self.shared_places);
        let Some((index, class)) = choice else { return false };
        let waiting: BTreeSet<usize> = fronts.iter().map(|((tenant, _), _)| *tenant).collect();
        let weights = waiting.into_iter().map(|tenant| self.weights[tenant]).sum();
        let ((tenant, urgent), (item, seconds)) = &fronts[index];
        let rank = self.shares.take(class, heads[index], *seconds, weights);
        self.backlog.get_mut(&(*tenant, *urgent)).unwrap().remove(&item.rank);
        self.held.insert((rank, item.id.clone(), *tenant));
        self.chosen.push((*tenant, *seconds, class));
        true
    }

    /// Fills the hold queue and calls the first of it.
    fn step(&mut self) -> bool {
        self.observe();
        while self.held.len() < self.places && self.choose() {}
        let first = self.held.pop_first();
        self.called.extend(first.as_ref().map(|(_, id, _)| id.clone()));
        first.is_some()
    }

    fn steps(&mut self, count: usize) {
        for _ in 0..count {
            assert!(self.step(), "nothing was called");
        }
    }

    /// How many of the calls since `from` were of a tenant.
    fn calls_of(&self, tenant: usize, from: usize) -> usize {
        let prefix = format!("{tenant}-");
        self.called[from..].iter().filter(|id| id.as_str().starts_with(&prefix)).count()
    }

    fn place_of(&self, id: &RequestId) -> usize {
        self.called.iter().position(|called| called == id).unwrap()
    }

    fn virtual_time(&self) -> f64 {
        self.shares.lanes.get(&self.lane).map_or(0.0, |clock| clock.now)
    }
}

fn name(tenant: usize) -> Tenant {
    Tenant::new(format!("t{tenant}")).unwrap()
}

#[test]
fn weights_are_kept_within_a_request() {
    for places in [1, 2, 20] {
        let mut bench = Bench::new(&[1.0, 3.0], places);
        bench.floods(0, 400);
        bench.floods(1, 400);
        for called in 1..=400 {
            bench.steps(1);
            let (light, heavy) = (bench.calls_of(0, 0) as f64, bench.calls_of(1, 0) as f64);
            assert!((light - heavy / 3.0).abs() <= 4.0 / 3.0, "{light} and {heavy} of {called}, {places} places");
        }
        assert_eq!(bench.calls_of(1, 0), 300);
    }
}

#[test]
fn who_comes_after_a_long_flood_starts_at_once_and_has_its_share() {
    let mut bench = Bench::new(&[1.0, 1.0], 10);
    bench.floods(0, 20_000);
    bench.steps(15_000);
    bench.floods(1, 100);
    bench.steps(100);
    let first = bench.called[15_000..].iter().position(|id| id.as_str().starts_with("1-")).unwrap();
    // What is held already is overtaken by its start, which is that of what is called now.
    assert!(first <= 1, "it waited for {first} calls");
    assert!((49..=51).contains(&bench.calls_of(1, 15_000)), "{} of 100", bench.calls_of(1, 15_000));
}

#[test]
fn idle_tenants_save_nothing_up() {
    let mut bench = Bench::new(&[1.0, 1.0], 10);
    bench.floods(1, 5);
    bench.floods(0, 5_000);
    bench.steps(3_000);
    // Idle since nearly the beginning; it gets half of what comes and not more.
    bench.floods(1, 1_000);
    bench.steps(1_000);
    let had = bench.calls_of(1, 3_000);
    assert!((499..=502).contains(&had), "{had} of 1,000");
}

#[test]
fn a_hold_queue_that_runs_empty_costs_nobody_its_share() {
    let mut bench = Bench::new(&[1.0, 1.0], 1);
    // Ranks before all of the other's: where the clocks say nothing, rank decides.
    bench.floods(0, 200);
    bench.floods(1, 200);
    bench.steps(100);
    assert_eq!((bench.calls_of(0, 0), bench.calls_of(1, 0)), (50, 50));
}

#[test]
fn urgent_goes_first_but_counts() {
    let mut bench = Bench::new(&[1.0, 1.0], 1);
    bench.floods(0, 300);
    bench.floods(1, 300);
    bench.steps(10);
    let urgent: Vec<_> = (0..30).map(|_| bench.arrives(1, Priority::URGENT, 1.0)).collect();
    bench.steps(30);
    assert_eq!(bench.called[10..], urgent);
    bench.steps(30);
    // What it had by urgency it does not get a second time.
    assert!(bench.calls_of(1, 40) <= 1, "{} of 30", bench.calls_of(1, 40));
    bench.steps(100);
    assert!((84..=86).contains(&bench.calls_of(1, 0)), "{} of 170", bench.calls_of(1, 0));
}

#[test]
fn an_urgent_flood_is_demoted_while_others_wait_and_only_then() {
    let mut bench = Bench::new(&[1.0, 1.0], 1);
    for _ in 0..500 {
        bench.arrives(0, Priority::URGENT, 1.0);
    }
    bench.steps(200);
    assert_eq!(bench.chosen.iter().filter(|(_, _, class)| *class == Class::Urgent).count(), 200, "nobody else waited");
    bench.floods(1, 400);
    bench.steps(400);
    let is_urgent = |(_, _, class): &&(usize, f64, Class)| *class == Class::Urgent;
    // Half of the lane is its own: it may have 120 s of the lane at once, and then its half.
    let lead = bench.chosen[200..].iter().take_while(|chosen| is_urgent(chosen)).count();
    assert!((119..=123).contains(&lead), "it goes first until it is ahead by {URGENT_LEAD} s of the lane: {lead}");
    let others = bench.calls_of(1, 200 + lead);
    assert!(others.abs_diff((400 - lead) / 2) <= 2, "and shares the lane from then on: {others} of {}", 400 - lead);
    // Once others had as much, it is urgent again.
    while bench.waits(0) {
        bench.steps(1);
    }
    bench.steps(130);
    let urgent = bench.arrives(0, Priority::URGENT, 1.0);
    bench.steps(1);
    assert_eq!(bench.called.last(), Some(&urgent));
}

#[test]
fn urgency_that_harmed_nobody_is_not_held_against_anybody() {
    let mut bench = Bench::new(&[1.0, 1.0], 1);
    for _ in 0..500 {
        bench.arrives(0, Priority::URGENT, 1.0);
    }
    bench.steps(500);
    bench.floods(0, 100);
    bench.floods(1, 100);
    bench.steps(100);
    assert!((49..=51).contains(&bench.calls_of(0, 500)), "{} of 100", bench.calls_of(0, 500));
}

#[test]
fn an_earlier_rank_overtakes_what_its_own_tenant_has_held() {
    let mut bench = Bench::new(&[1.0, 1.0], 12);
    bench.floods(0, 100);
    bench.floods(1, 100);
    bench.steps(20);
    let high = bench.arrives(0, Priority::HIGH, 1.0);
    bench.steps(40);
    // 11 are held when it comes; it is chosen next and goes as the first of its own.
    let place = bench.place_of(&high);
    assert!(place <= 22, "called as number {place}");
    assert!(bench.calls_of(1, 20) >= 19, "{} of 40", bench.calls_of(1, 20));
}

#[test]
fn a_stream_of_earlier_ranks_takes_nothing_from_others_nor_stops_virtual_time() {
    let mut bench = Bench::new(&[1.0, 1.0, 1.0], 20);
    for _ in 0..1_000 {
        bench.arrives(0, Priority::BULK, 1.0);
    }
    bench.floods(1, 2_000);
    bench.steps(100);
    // From now on every request of the first tenant ranks before all of it that is held.
    for next in (0..1_000).rev() {
        let id = bench.arrives(0, Priority::HIGH, 1.0);
        let (item, seconds) = bench.backlog[&(0, false)].values().find(|(item, _)| item.id == id).unwrap().clone();
        let rank = format!("1#1#{next:08}");
        let items = bench.backlog.get_mut(&(0, false)).unwrap();
        items.remove(&item.rank);
        items.insert(rank.clone(), (WorkItem { sort: rank.clone(), rank, ..item }, seconds));
        bench.steps(1);
    }
    let (first, second) = (bench.calls_of(0, 100), bench.calls_of(1, 100));
    assert!(first.abs_diff(second) <= 20, "{first} and {second}");
    bench.floods(2, 300);
    bench.steps(90);
    let third = bench.calls_of(2, 1_100);
    assert!((25..=36).contains(&third), "a newcomer has its share and no more: {third} of 90");
}

/// What happens in a random run.
#[derive(Clone, Debug)]
enum Event {
    Arrives(usize, bool, f64),
    Step,
}

fn event(tenants: usize) -> impl Strategy<Value = Event> {
    let arrives = (0..tenants, prop::bool::weighted(0.1), 0.01..5.0f64);
    prop_oneof![
        4 => arrives.prop_map(|(tenant, urgent, seconds)| Event::Arrives(tenant, urgent, seconds)),
        3 => Just(Event::Step),
    ]
}

proptest! {
    /// Whenever anybody may go somebody is chosen; virtual time never goes back; all are called in the end.
    #[test]
    fn work_is_conserved(
        weights in prop::collection::vec(0.1..10.0f64, 1..6),
        places in 1usize..8,
        events in prop::collection::vec(event(5), 1..200),
    ) {
        let tenants = weights.len();
        let mut bench = Bench::new(&weights, places);
        let (mut arrived, mut time) = (0, 0.0);
        for event in events {
            match event {
                Event::Arrives(tenant, urgent, seconds) => {
                    let priority = if urgent { Priority::URGENT } else { Priority::NORMAL };
                    bench.arrives(tenant % tenants, priority, seconds);
                    arrived += 1;
                }
                Event::Step => {
                    let waits = !bench.held.is_empty() || (0..tenants).any(|tenant| bench.waits(tenant));
                    prop_assert_eq!(bench.step(), waits);
                }
            }
            prop_assert!(bench.virtual_time() >= time, "{} after {time}", bench.virtual_time());
            time = bench.virtual_time();
            let waits = (0..tenants).any(|tenant| bench.waits(tenant));
            if bench.held.len() < places {
                prop_assert_eq!(bench.choose(), waits);
            }
        }
        while bench.step() {}
        prop_assert_eq!(bench.called.len(), arrived);
        prop_assert_eq!(bench.called.iter().collect::<BTreeSet<_>>().len(), arrived);
    }

    /// Start-time fair queueing's bound, for every interval in which both wait: |Si/wi − Sj/wj| ≤ ci/wi + cj/wj, with the
    /// largest requests of both (and the millisecond to which places are rounded).
    #[test]
    fn service_is_proportional(
        weights in prop::collection::vec(0.2..8.0f64, 2..6),
        places in 1usize..8,
        costs in prop::collection::vec(prop::collection::vec(0.05..5.0f64, 60), 5),
        late in 0usize..60,
    ) {
        let tenants = weights.len();
        let mut bench = Bench::new(&weights, places);
        // The last one comes later than the others.
        for (tenant, costs) in costs.iter().enumerate().take(tenants - 1) {
            for seconds in costs {
                bench.arrives(tenant, Priority::NORMAL, *seconds);
            }
        }
        let (mut served, mut range) = (vec![0.0; tenants], BTreeMap::new());
        let waits = |bench: &Bench, tenant| bench.waits(tenant) || bench.held.iter().any(|(_, _, of)| *of == tenant);
        for step in 0.. {
            if step == late {
                for seconds in &costs[tenants - 1] {
                    bench.arrives(tenants - 1, Priority::NORMAL, *seconds);
                }
            }
            let mut note = |bench: &Bench, served: &[f64]| {
                for (i, j) in (0..tenants).flat_map(|i| (0..i).map(move |j| (i, j))) {
                    if waits(bench, i) && waits(bench, j) {
                        let ahead: f64 = served[i] - served[j];
                        let (least, most) = range.entry((i, j)).or_insert((ahead, ahead));
                        (*least, *most) = (least.min(ahead), most.max(ahead));
                    }
                }
            };
            note(&bench, &served);
            if !bench.step() {
                break;
            }
            let id = bench.called.last().unwrap();
            let tenant: usize = id.as_str().split('-').next().unwrap().parse().unwrap();
            served[tenant] += bench.seconds[id] / weights[tenant];
            note(&bench, &served);
        }
        for ((i, j), (least, most)) in range {
            let bound: f64 = [i, j].iter().map(|t| costs[*t].iter().copied().fold(0.0, f64::max) / weights[*t]).sum();
            prop_assert!(most - least <= bound + 0.002, "tenants {i} and {j}: {} > {bound}", most - least);
        }
    }
}
