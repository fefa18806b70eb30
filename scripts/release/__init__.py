"""Makes dist/ what a release needs: `just wheels` and `just release` run it."""
