{
  # Only a door for prebuildify, which knows node-gyp alone: the build is CMakeLists.txt's (scripts/cmake-build.js).
  "targets": [
    {
      "target_name": "gme_embed",
      "type": "none",
      "actions": [
        {
          "action_name": "cmake",
          "inputs": [],
          # The second file is never written: the action always runs, and CMake knows what is up to date.
          "outputs": ["<(PRODUCT_DIR)/gme_embed.node", "<(PRODUCT_DIR)/gme_embed.always"],
          "action": [
            "node", "scripts/cmake-build.js",
            "--product", "<(PRODUCT_DIR)",
            "--config", "<(CONFIGURATION_NAME)",
            "--arch", "<(target_arch)"
          ]
        }
      ]
    }
  ]
}
