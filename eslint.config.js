import js from "@eslint/js";

export default [
  js.configs.recommended,
  {
    files: ["app/**/*.js"],
    rules: {
      // The type checker knows the browser's names.
      "no-undef": "off",
      "no-var": "error",
      "prefer-const": "error",
      "eqeqeq": "error",
      "no-console": "error",
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-shadow": "error",
      "no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_" }],
    },
  },
];
