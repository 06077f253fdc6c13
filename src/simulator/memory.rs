//! Maps that forget: two generations, of which the older is dropped when the younger is full. Bounded memory at a
//! constant cost per access, and an entry in use never goes.

use std::collections::HashMap;
use std::hash::Hash;

/// A bounded map; keeps at least the last `size` distinct keys touched and at most twice as many.
#[derive(Debug)]
pub(super) struct Generations<K, V> {
    size: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Generations<K, V> {
    pub(super) fn new(size: usize) -> Self {
        Self { size, young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key, made young again.
    pub(super) fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        if self.young.len() >= self.size && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        let kept = self.old.remove(&key);
        self.young.entry(key).or_insert_with(|| kept.unwrap_or_else(make))
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_used_and_forgets_the_rest() {
        let mut map = Generations::new(2);
        *map.entry("kept", || 0) += 1;
        for key in ["a", "b", "c", "d"] {
            *map.entry("kept", || 0) += 1;
            map.entry(key, || 0);
        }
        assert_eq!(map.get(&"kept"), Some(&5));
        assert_eq!(map.get(&"a"), None);
        assert!(map.young.len() + map.old.len() <= 4);
        map.clear();
        assert_eq!(map.get(&"kept"), None);
    }
}
