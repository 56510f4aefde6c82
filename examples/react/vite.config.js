import { defineConfig } from "vite";

export default defineConfig({
  // React's own JSX, without a plugin.
  esbuild: { jsx: "automatic" },
});
