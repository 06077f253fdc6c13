//! What is saved is what was added: once, whatever happens to writes and workers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fine,
    /// It fails, and nothing is written.
    Fails,
    /// It is written, and the answer is lost.
    Lost,
}

/// Registers in memory; the next writes fare as `fates` says.
#[derive(Default)]
struct Memory {
    registers: Mutex<BTreeMap<String, Register>>,
    fates: Mutex<Vec<Fate>>,
    writes: Mutex<u64>,
}

#[async_trait]
impl Registers for Memory {
    async fn read(&self, name: &str) -> PortResult<Option<Register>> {
        Ok(self.registers.lock().unwrap().get(name).cloned())
    }

    async fn write(&self, name: &str, expected: u64, value: String) -> PortResult<bool> {
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Fine);
        if fate == Fate::Fails {
            return Err(PortError::transient("write", "fails"));
        }
        assert!(value.len() < 100_000, "{} bytes are no register", value.len());
        let mut registers = self.registers.lock().unwrap();
        let fits = registers.get(name).map_or(0, |r| r.version) == expected;
        if fits {
            *self.writes.lock().unwrap() += 1;
            registers.insert(name.to_owned(), Register { version: expected + 1, value });
        }
        if fate == Fate::Lost { Err(PortError::transient("write", "no answer")) } else { Ok(fits) }
    }

    async fn remove(&self, name: &str, expected: u64) -> PortResult<bool> {
        let mut registers = self.registers.lock().unwrap();
        let fits = registers.get(name).is_some_and(|r| r.version == expected);
        if fits {
            registers.remove(name);
        }
        Ok(fits)
    }

    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Register)>> {
        let registers = self.registers.lock().unwrap();
        Ok(registers.iter().filter(|(n, _)| n.starts_with(prefix)).map(|(n, r)| (n.clone(), r.clone())).collect())
    }
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn worker(registers: &Arc<Memory>, name: &str, clock: &Clock) -> Spend {
    let registers: Arc<dyn Registers> = registers.clone();
    Spend::new(registers, name, clock.clone(), BTreeSet::new())
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        worker: usize,
        tenant: usize,
        billionths: u32,
    },
    Flush {
        worker: usize,
        fates: Vec<Fate>,
    },
    /// It ends in order, and another begins under its name.
    Restart {
        worker: usize,
    },
    /// Somebody clears the registers that are over, of which there are none.
    Idle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![Just(Fate::Fine), Just(Fate::Fails), Just(Fate::Lost)];
    let step = prop_oneof![
        4 => (0..4_usize, 0..3_usize, 1..u32::MAX).prop_map(|(worker, tenant, billionths)| Step::Add { worker, tenant, billionths }),
        4 => (0..4_usize, prop::collection::vec(fate, 0..3)).prop_map(|(worker, fates)| Step::Flush { worker, fates }),
        1 => (0..4_usize).prop_map(|worker| Step::Restart { worker }),
        1 => Just(Step::Idle),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_registers_add_up_to_what_was_added(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let clock = Clock::anchored(at("2026-11-21T09:00:00Z"));
            let registers = Arc::new(Memory::default());
            // The last two have the same name, as when a worker is replaced before it has ended.
            let names = ["a", "b", "twin", "twin"];
            let mut workers: Vec<Spend> = names.iter().map(|name| worker(&registers, name, &clock)).collect();
            let tenants = ["x", "y", "z"].map(tenant);
            let mut added = [Usd::default(); 3];
            for step in steps {
                match step {
                    Step::Add { worker, tenant, billionths } => {
                        let dollars = f64::from(billionths) / 1e9;
                        added[tenant] += Usd::of(dollars);
                        workers[worker].add(&tenants[tenant], dollars, clock.now());
                    }
                    Step::Flush { worker, fates } => {
                        *registers.fates.lock().unwrap() = fates;
                        // It may fail; what it was to save is saved later.
                        drop(workers[worker].flush().await);
                        registers.fates.lock().unwrap().clear();
                    }
                    Step::Restart { worker: which } => {
                        workers[which].flush_within(Duration::from_secs(5)).await.unwrap();
                        workers[which] = worker(&registers, names[which], &clock);
                    }
                    Step::Idle => tokio::time::advance(Duration::from_secs(1)).await,
                }
            }
            for worker in &workers {
                worker.flush().await.unwrap();
            }
            let spent = spent(&*registers).await.unwrap();
            let (day, month) = (clock.now().day(), clock.now().month());
            for (tenant, added) in tenants.iter().zip(added) {
                assert_eq!((spent.of(&day, tenant), spent.of(&month, tenant)), (added, added));
            }
            assert_eq!(spent.total(&day), added.into_iter().sum());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_saved_every_two_seconds_when_there_is_something_to_save() {
    let clock = Clock::anchored(at("2026-11-21T09:00:00Z"));
    let registers = Arc::new(Memory::default());
    let spend = worker(&registers, "a", &clock);
    let mut tasks = tokio::task::JoinSet::new();
    let saving = spend.clone();
    tasks.spawn(async move { saving.run(|error| panic!("{error}")).await });
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(*registers.writes.lock().unwrap(), 0, "nothing to say");
    for _ in 0..100 {
        spend.add(&tenant("x"), 0.01, clock.now());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(EVERY).await;
    let writes = *registers.writes.lock().unwrap();
    assert!((5..=6).contains(&writes), "{writes}");
    assert_eq!(spent(&*registers).await.unwrap().total("2026-11-21"), Usd::of(1.0));
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_it_was_cancelled_is_not_lost() {
    let clock = Clock::anchored(at("2026-11-21T09:00:00Z"));
    let registers = Arc::new(Memory::default());
    let spend = worker(&registers, "a", &clock);
    spend.add(&tenant("x"), 1.0, clock.now());
    *registers.fates.lock().unwrap() = vec![Fate::Lost];
    assert!(spend.flush().await.is_err());
    spend.add(&tenant("x"), 2.0, clock.now());
    spend.flush().await.unwrap();
    assert_eq!(spent(&*registers).await.unwrap().total("2026-11"), Usd::of(3.0));
    *registers.fates.lock().unwrap() = vec![Fate::Fails; 100];
    spend.add(&tenant("x"), 4.0, clock.now());
    let failed = spend.flush_within(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(failed.to_string(), "write: fails");
}

#[tokio::test(start_paused = true)]
async fn only_this_day_and_month_and_those_before_are_kept_and_the_registers_of_the_gone_go() {
    let clock = Clock::anchored(at("2026-10-30T12:00:00Z"));
    let registers = Arc::new(Memory::default());
    let (gone, stays) = (worker(&registers, "gone", &clock), worker(&registers, "stays", &clock));
    let day = Duration::from_hours(24);
    for spend in [&gone, &stays] {
        spend.add(&tenant("x"), 1.0, clock.now());
        spend.flush().await.unwrap();
    }
    // The second of November, less than a day after October by some clock.
    for (days, names) in [(2, vec!["spend/gone", "spend/stays"]), (1, vec!["spend/stays"])] {
        tokio::time::advance(day * days).await;
        stays.add(&tenant("x"), 1.0, clock.now());
        stays.flush().await.unwrap();
        let left: Vec<String> = registers.list(PREFIX).await.unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(left, names, "{}", clock.now());
    }
    let periods = |spent: &Account| spent.periods().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(periods(&spent(&*registers).await.unwrap()), ["2026-10", "2026-11", "2026-11-01", "2026-11-02"]);
    // One whose register was removed while it did nothing begins anew.
    gone.add(&tenant("x"), 5.0, clock.now());
    gone.flush().await.unwrap();
    assert_eq!(spent(&*registers).await.unwrap().total("2026-11"), Usd::of(7.0));
    tokio::time::advance(day * 90).await;
    stays.add(&tenant("x"), 1.0, clock.now());
    stays.flush().await.unwrap();
    assert_eq!(periods(&spent(&*registers).await.unwrap()), ["2027-01", "2027-01-31"]);
}

#[tokio::test(start_paused = true)]
async fn a_register_stays_small_and_keeps_those_who_have_a_budget() {
    let now = at("2026-11-21T09:00:00Z");
    let registers = Arc::new(Memory::default());
    let budgeted: BTreeSet<Tenant> = (0..50).map(|n| tenant(&format!("budgeted-{n:0>100}"))).collect();
    let ports: Arc<dyn Registers> = registers.clone();
    let spend = Spend::new(ports, "a", Clock::anchored(now), budgeted.clone());
    for n in 0..3_000_u32 {
        spend.add(&tenant(&format!("other-{n:0>100}")), f64::from(n), now);
    }
    for tenant in &budgeted {
        spend.add(tenant, 0.001, now);
        spend.add(tenant, 0.002, now - Duration::from_hours(24));
    }
    spend.flush().await.unwrap();
    let sums = spent(&*registers).await.unwrap();
    assert!(budgeted.iter().all(|tenant| sums.of("2026-11-21", tenant) == Usd::of(0.001)));
    assert!(budgeted.iter().all(|tenant| sums.of("2026-11", tenant) == Usd::of(0.003)));
    assert_eq!(sums.of("2026-11-21", &tenant(&format!("other-{:0>100}", 2_999))), Usd::of(2_999.0), "the largest");
    assert_eq!(sums.of("2026-11-21", &tenant(&format!("other-{:0>100}", 1))), Usd::default());
    assert_eq!(sums.total("2026-11"), Usd::of(2_999.0 * 1_500.0) + Usd::of(0.15));
    assert_eq!(sums.total("2026-11-20"), Usd::of(0.1));

    let all: BTreeSet<Tenant> = (0..3_000).map(|n| tenant(&format!("b-{n:0>120}"))).collect();
    let ports: Arc<dyn Registers> = registers.clone();
    let spend = Spend::new(ports, "b", Clock::anchored(now), all.clone());
    for tenant in &all {
        spend.add(tenant, 1.0, now);
    }
    spend.flush().await.unwrap();
    assert_eq!(spent(&*registers).await.unwrap().total("2026-11-21"), Usd::of(2_999.0 * 1_500.0) + Usd::of(3_000.05));
}
