/** Something to try at once; written for the embedded English model. */
export const EXAMPLES = [
  {
    name: "Panda",
    query: "What is a panda?",
    documents: [
      "hi",
      "it is a bear",
      "The train to Chengdu takes eight hours.",
      "Grizzly bears catch salmon in the rivers of Alaska.",
      "The giant panda (Ailuropoda melanoleuca) is a bear species endemic to China.",
      "Pandas eat bamboo for up to fourteen hours a day.",
    ],
  },
  {
    name: "Support",
    query: "How do I reset my password?",
    documents: [
      "Invoices are sent on the first day of every month.",
      "Passwords must have at least twelve characters.",
      "To reset the device, hold the power button for ten seconds.",
      "Forgot your password? Choose “Reset password” on the sign-in page, and a link to set a new one comes by mail.",
      "Your administrator can remove members from a team.",
    ],
  },
  {
    name: "Packages",
    query: "parse command line arguments",
    documents: [
      "Fetch web pages over HTTP with retries and sessions.",
      "Draw plots and charts from tables of numbers.",
      "Read and write YAML files.",
      "Colour the text that a program writes to a terminal.",
      "Turn a function's parameters into a command line with options, arguments and help.",
    ],
  },
  {
    name: "Long document",
    query: "How long does the battery last?",
    overflow: "chunk",
    chunkTokens: "64",
    documents: [
      "The box holds a lamp, a cable and two screws.",
      "The lamp is made of oak and brass.",
      `${"The handbook begins with what is in the box: the lamp, a cable, two screws and this leaflet. Mount the lamp on a dry wall, away from curtains, and tighten both screws by hand. ".repeat(12)}The battery lasts nine hours at half brightness and four hours at full brightness. ${"Clean the glass with a soft cloth. Do not use solvents. Spare parts can be had from the dealer for ten years after the sale. ".repeat(12).trim()}`,
    ],
  },
];
