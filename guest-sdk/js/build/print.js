// What a guest is, as data for the build command. Part of a bundle that Node runs once.

const INTERFACES = ['manifest', 'decider', 'upcaster', 'projection'];

export function print(guest, { component, isGuest, guarded }, defaults) {
  if (!isGuest(guest)) {
    throw new Error('the default export is not a guest; expected `export default decider({…})`, `projections(…)` or `upcasters(…)`');
  }
  return guarded(() => {
    const exported = component(guest, defaults);
    return {
      manifest: exported.manifest.describe(),
      interfaces: INTERFACES.filter((name) => exported[name] !== undefined),
      projections: (guest.projections?.list ?? []).map(({ name, version }) => `${name} ${version}`),
      steps: (guest.upcasters?.steps ?? []).map(({ category, step }) => `${category}: ${step.type} ${step.version}`),
    };
  });
}
