// The state of the stage, and who wants to hear of it.

/**
 * @template {object} S
 * @param {S} initial
 * @returns {{state: S, set: (change: Partial<S>) => void, on: (keys: (keyof S)[], listen: (state: S) => void) => void}}
 */
export function createStore(initial) {
  const state = { ...initial };
  const listeners = [];
  return {
    state,
    set(change) {
      const changed = Object.keys(change).filter((key) => state[key] !== change[key]);
      if (!changed.length) return;
      Object.assign(state, change);
      for (const { keys, listen } of listeners) if (keys.some((key) => changed.includes(key))) listen(state);
    },
    on(keys, listen) {
      listeners.push({ keys, listen });
    },
  };
}
