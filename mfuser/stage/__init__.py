"""The stage: all data of an analysed picture in one bundle, and the scripts that show it in a browser. No server."""
