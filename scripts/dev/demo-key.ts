/** The key that `npm run dev` opens with: of the tenant `demo` in tenants.example.toml. */
export const DEMO_KEY = "sk-sortie-demo-local";
