"""Many natural ways to ask the same thing: `seen` stands in training, `unseen` only in the second test split."""

from __future__ import annotations

# topic: (seen phrasings, unseen phrasings). {names} are the item's slots.
# fmt: off
PHRASINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "capital": (
        ("What is the capital of {x}?", "What's the capital of {x}?", "Capital of {x}?",
         "Name the capital of {x}.", "Which city is the capital of {x}?", "The capital of {x} is"),
        ("Tell me the capital city of {x}.", "Which city serves as capital of {x}?"),
    ),
    "capital_of": (
        ("{x} is the capital of which country?", "Which country has the capital {x}?",
         "Of which country is {x} the capital?", "What country has {x} as its capital?"),
        ("Name the country whose capital is {x}.",),
    ),
    "currency": (
        ("What is the currency of {x}?", "What currency does {x} use?", "Currency of {x}?",
         "Which currency is used in {x}?", "What money do people use in {x}?"),
        ("In {x}, what is the currency?", "Which currency do people in {x} use?"),
    ),
    "continent": (
        ("On which continent is {x}?", "What continent is {x} on?", "Which continent is {x} part of?",
         "Continent of {x}?", "{x} is on which continent?"),
        ("Tell me the continent of {x}.", "To which continent does {x} belong?"),
    ),
    "language": (
        ("What language do people speak in {x}?", "What is the main language of {x}?",
         "Which language is spoken in {x}?", "Main language of {x}?"),
        ("In {x}, which language do people speak?", "Name the main language of {x}."),
    ),
    "symbol": (
        ("What is the chemical symbol of {x}?", "Chemical symbol of {x}?", "What's the symbol for {x}?",
         "Which symbol does the element {x} have?", "Give the chemical symbol for {x}."),
        ("Name the chemical symbol of {x}.", "The element {x} has which symbol?"),
    ),
    "number": (
        ("What is the atomic number of {x}?", "Atomic number of {x}?", "What's the atomic number of {x}?",
         "Which atomic number does {x} have?", "Give the atomic number of {x}."),
        ("Name the atomic number of {x}.", "The element {x} has which atomic number?"),
    ),
    "element": (
        ("Which element has the symbol {x}?", "What element is {x}?", "{x} is the symbol of which element?",
         "What does the chemical symbol {x} stand for?"),
        ("Name the element with the symbol {x}.",),
    ),
    "opposite": (
        ("What is the opposite of {x}?", "What's the opposite of {x}?", "Opposite of {x}?",
         "Give the opposite of {x}.", "Which word is the opposite of {x}?", "Antonym of {x}?"),
        ("Name the opposite of {x}.", "What word means the opposite of {x}?"),
    ),
    "plural": (
        ("What is the plural of {x}?", "What's the plural of {x}?", "Plural of {x}?",
         "Give the plural of {x}.", "What is the plural form of {x}?"),
        ("Name the plural of {x}.", "Which word is the plural of {x}?"),
    ),
    "past": (
        ("What is the past tense of {x}?", "What's the past tense of {x}?", "Past tense of {x}?",
         "Give the past tense of {x}.", "What is the simple past of {x}?"),
        ("Name the past tense of {x}.", "Which word is the past tense of {x}?"),
    ),
    "young": (
        ("What is a young {x} called?", "What do you call a baby {x}?", "What is a baby {x} called?",
         "Name for a young {x}?"),
        ("What do you call a young {x}?",),
    ),
    "sound": (
        ("What sound does {a_x} make?", "What does {a_x} do when it makes a sound?",
         "Which verb describes the sound of {a_x}?", "Sound of {a_x}?"),
        ("Name the sound of {a_x}.",),
    ),
    "legs": (
        ("How many legs does {a_x} have?", "Number of legs of {a_x}?", "{a_x} has how many legs?",
         "How many legs has {a_x}?"),
        ("Tell me how many legs {a_x} has.",),
    ),
    "spanish": (
        ("What is {x} in Spanish?", "How do you say {x} in Spanish?", "Translate {x} to Spanish.",
         "Spanish word for {x}?", "What's the Spanish word for {x}?"),
        ("Give the Spanish word for {x}.", "In Spanish, what is {x}?"),
    ),
    "french": (
        ("What is {x} in French?", "How do you say {x} in French?", "Translate {x} to French.",
         "French word for {x}?", "What's the French word for {x}?"),
        ("Give the French word for {x}.", "In French, what is {x}?"),
    ),
    "color": (
        ("What color is {x}?", "Color of {x}?", "Which color does {x} have?", "What is the color of {x}?"),
        ("Name the color of {x}.", "Tell me the color of {x}."),
    ),
    "category": (
        ("What kind of thing is {x}?", "What category does {x} belong to?", "In one word, what is {x}?",
         "Which category is {x} in?", "Category of {x}?"),
        ("Name the category of {x}.", "To which category does {x} belong?"),
    ),
    "profession": (
        ("Which profession {x}?", "Who {x}?", "What do you call a person who {x}?",
         "Somebody who {x} is called what?"),
        ("Name the profession that {x}.",),
    ),
    "inventor": (
        ("Who is behind {x}?", "Who made {x}?", "Which person is famous for {x}?",
         "Who is known for {x}?"),
        ("Name the person behind {x}.",),
    ),
    "sum_plus": (
        ("What is {a} + {b}?", "What is {a} plus {b}?", "{a} + {b} = ?", "{a}+{b}", "Add {a} and {b}.",
         "How much is {a} plus {b}?", "Calculate {a} + {b}.", "What's {a} + {b}?", "{a} plus {b}?",
         "What is the sum of {a} and {b}?", "How much do {a} and {b} make?", "{a} and {b} added together?"),
        ("Work out {a} + {b}.", "How much is {a} and {b} together? {a} + {b}"),
    ),
    "sum_minus": (
        ("What is {a} - {b}?", "What is {a} minus {b}?", "{a} - {b} = ?", "{a}-{b}", "Compute {a} - {b}.",
         "How much is {a} minus {b}?", "Calculate {a} - {b}.", "What's {a} - {b}?", "{a} minus {b}?",
         "Take {b} away from {a}.", "Subtract {b} from {a}.", "What is left of {a} after taking away {b}?"),
        ("Work out {a} - {b}.", "How much is left of {a} minus {b}?"),
    ),
    "sum_times": (
        ("What is {a} times {b}?", "What is {a} * {b}?", "{a} * {b} = ?", "{a} x {b}", "Multiply {a} by {b}.",
         "How much is {a} times {b}?", "Calculate {a} * {b}.", "What's {a} x {b}?", "{a} times {b}?",
         "Compute {a} times {b}.", "Multiply {a} and {b}."),
        ("Work out {a} times {b}.", "What is the product of {a} * {b}?"),
    ),
    "running": (
        ("Start with {start}, {steps}. What is the result?", "Take {start}, {steps}. What do you get?",
         "Start with {start}, {steps}.", "Begin with {start}, {steps}. What number do you get?",
         "Start at {start}, {steps}. What is the number now?", "Start from {start}, {steps}. Which number is it now?",
         "Begin at {start}, {steps}. What do you have?", "Take {start}, {steps}. Give the result.",
         "Take the number {start}, {steps}. How much is it?"),
        ("Begin at {start}, {steps}. What is the result?", "Take {start}, {steps}. Tell me the number."),
    ),
    "compare_two": (
        ("Which is {which}, {numbers}?", "Which number is {which}, {numbers}?", "What is {which}: {numbers}?",
         "{numbers}: which is {which}?", "Which one is {which}: {numbers}?", "Name the {which} number: {numbers}",
         "{numbers}, which number is {which}?", "Say which is {which}, {numbers}."),
        ("Tell me which is {which}: {numbers}.", "Of {numbers}, which is {which}?"),
    ),
    "compare_many": (
        ("Which is the {which} of these: {numbers}?", "What is the {which} number: {numbers}?",
         "{which} of {numbers}?", "Which number is {which}: {numbers}?", "{numbers}: which is the {which}?",
         "Find the {which} number in {numbers}.", "Name the {which} of these numbers: {numbers}",
         "{numbers}. What is the {which} number?", "Pick the {which} one: {numbers}"),
        ("Tell me the {which} of {numbers}.", "Of {numbers}, which is the {which}?"),
    ),
    "ordering": (
        ("{facts} Which box is the {which}?", "{facts} What is the {which} box?", "{facts} So which box is {which}?",
         "{facts} Which one is the {which}?", "{facts} Name the {which} box.", "{facts} The {which} box is",
         "{facts} What color is the {which} box?", "{facts} Which of the boxes is {which}?"),
        ("{facts} Tell me the {which} box.", "{facts} Of these, which box is the {which}?"),
    ),
    "day": (
        ("What day is {n} {direction} {day}?", "Which day is {n} {direction} {day}?", "{n} {direction} {day}?",
         "{n} {direction} {day} is what day?", "What day of the week is {n} {direction} {day}?",
         "Name the day {n} {direction} {day}.", "Which day of the week comes {n} {direction} {day}?",
         "What day comes {n} {direction} {day}?", "What weekday is {n} {direction} {day}?"),
        ("Tell me the day {n} {direction} {day}.", "Name the day of the week {n} {direction} {day}."),
    ),
    "month": (
        ("What month is {n} {direction} {month}?", "Which month is {n} {direction} {month}?",
         "{n} {direction} {month} is what month?", "Which month comes {n} {direction} {month}?",
         "{n} {direction} {month}?", "What month comes {n} {direction} {month}?",
         "Which month of the year is {n} {direction} {month}?", "Give the month {n} {direction} {month}."),
        ("Tell me the month {n} {direction} {month}.", "Name the month {n} {direction} {month}."),
    ),
    "unit": (
        ("How many {small} are in {n} {large}?", "How many {small} are there in {n} {large}?",
         "Convert {n} {large} to {small}.", "{n} {large} in {small}?", "{n} {large} are how many {small}?",
         "How many {small} is {n} {large}?", "{n} {large} to {small}?", "What is {n} {large} converted to {small}?"),
        ("Tell me how many {small} are in {n} {large}.", "What is {n} {large} in {small}?"),
    ),
    "list_nth": (
        ("What is the {nth} word in this list: {list}?", "Which word is {nth} in {list}?",
         "Name the {nth} word: {list}", "{list}. What is the {nth} word?", "What is the {nth} word of {list}?",
         "Which word comes {nth}: {list}?", "{list}. Which one is {nth}?", "Give the {nth} item of this list: {list}"),
        ("Tell me the {nth} word of {list}.", "In {list}, which word is {nth}?"),
    ),
    "list_last": (
        ("What is the last word in this list: {list}?", "Which word is last in {list}?",
         "Name the last word: {list}", "{list}. What is the last word?", "What is the last word of {list}?",
         "Which word comes last: {list}?", "{list}. Which one is last?", "Give the last item of this list: {list}"),
        ("Tell me the last word of {list}.", "In {list}, which word is last?"),
    ),
    "list_count": (
        ("How many words are in this list: {list}?", "Count the words: {list}", "How many words: {list}?",
         "{list}. How many words is that?", "How many items are in this list: {list}?", "{list}. How many are there?",
         "How long is this list: {list}?", "Count the items of this list: {list}"),
        ("Tell me how many words are in {list}.", "In {list}, how many words are there?"),
    ),
    "list_reverse": (
        ("Reverse this list: {list}", "Reverse the order of {list}.", "Write this list backwards: {list}",
         "{list}. Reverse the list.", "Reverse: {list}", "Write {list} in reverse order.",
         "List these from last to first: {list}", "{list}. Now backwards."),
        ("Give me this list in reverse order: {list}", "Say {list} backwards."),
    ),
    "list_repeat": (
        ("Repeat this list: {list}", "Repeat: {list}", "Say this again: {list}", "Copy this list: {list}",
         "{list}. Repeat the list.", "Write this again: {list}", "{list}. Once more, please."),
        ("Say {list} again.", "Write this list again: {list}"),
    ),
    "list_sort": (
        ("Sort these numbers: {list}", "Sort {list} from smallest to largest.", "Sort: {list}",
         "Put these numbers in order: {list}", "{list}. Sort the numbers.", "Order these numbers: {list}",
         "Write {list} in order.", "Arrange from smallest to largest: {list}", "{list}. Now sorted."),
        ("Write these numbers in order from smallest to largest: {list}", "Give me {list} sorted."),
    ),
    "chain": (
        ("{map}. Start at {start}, take {steps}. Where are you?",
         "{map}. Start at {start} and take {steps}. Where do you end?",
         "{map}. Begin at {start}, go {steps}. Where are you?", "{map}. From {start}, where do {steps} lead?",
         "{map}. Go {steps} from {start}. Where do you end?",
         "{map}. You are at {start} and go {steps}. Where are you now?",
         "{map}. Where are you {steps} after {start}?", "{map}. Which letter is {steps} from {start}?"),
        ("{map}. If you start at {start} and go {steps}, where do you end?",
         "{map}. Take {steps} from {start}. Where are you?"),
    ),
    "trail": (
        ("{map}. Start at {start}, take {steps}. Which way do you go?",
         "{map}. List every letter of {steps} from {start}.",
         "{map}. Start at {start} and take {steps}. Name every letter on the way.",
         "{map}. Show the way of {steps} from {start}.", "{map}. Go {steps} from {start}, letter by letter.",
         "{map}. Which letters do you pass in {steps} from {start}?"),
        ("{map}. Start at {start}, take {steps} and name every letter.",
         "{map}. From {start}, show every letter of {steps}."),
    ),
    "lookup_many": (
        ("Prices: {list}. How much are these: {things}?", "Prices: {list}. What do these cost: {things}?",
         "{list}. Give the numbers of {things}.", "{list}. Which numbers belong to {things}?",
         "Prices: {list}. Price of {things}?", "{list}. Now only {things}.", "From this list: {list}. Pick {things}."),
        ("Prices: {list}. Tell me the prices of {things}.", "In {list}, which numbers belong to {things}?"),
    ),
    "lookup": (
        ("Prices: {list}. How much is the {thing}?", "Prices: {list}. What does the {thing} cost?",
         "{list}. What number belongs to {thing}?", "{list}. Which number does {thing} have?",
         "Prices: {list}. What is the price of the {thing}?", "{list}. What is the number of {thing}?",
         "{list}. How much is the {thing}?", "Look at this list: {list}. Which number stands by {thing}?"),
        ("Prices: {list}. Tell me the price of the {thing}.", "In {list}, which number belongs to {thing}?"),
    ),
    "story": (
        ("Tell me a short story about {a_hero}, a {thing} and a {place}.",
         "Write a short story with {a_hero}, a {thing} and a {place}.",
         "Write two sentences about {a_hero} and a {thing} in a {place}.",
         "A short story, please: {hero}, {thing}, {place}.", "A story about {a_hero}, a {thing} and a {place}, please.",
         "Tell a story about {a_hero} with a {thing} in a {place}."),
        ("Make up a short story about {a_hero} and a {thing} in a {place}.",),
    ),
    "explanation": (
        ("What does {a_profession} do?", "Explain what {a_profession} does.",
         "What is the work of {a_profession}?", "What is {a_profession}?"),
        ("Tell me what {a_profession} does.",),
    ),
    "talk_hello": (
        ("Hello", "Hi", "Hey", "Good morning", "Hello there", "Hi!", "Hello!", "Hi there", "Hey there!", "Good evening",
         "Good afternoon", "Hello, tiny", "Hi, tiny!", "Good day", "Greetings", "Hello again", "Hey!", "Hi again!"),
        ("Hello, good morning!", "Hey, hello!"),
    ),
    "talk_who": (
        ("Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Who is this?",
         "Are you a person?", "Are you a robot?", "What's your name?",
         "Who am I talking to?", "What kind of model are you?", "Are you human?", "Do you have a name?",
         "Introduce yourself.", "Are you a computer?", "Who is speaking?"),
        ("Tell me who you are.", "What should I call you?"),
    ),
    "talk_how": (
        ("How are you?", "How are you today?", "How do you do?", "How are you doing?", "How is it going?",
         "Hi, how are you?", "Hello, how are you?", "Are you well?", "How's it going?", "How are things?",
         "Are you fine?", "How do you feel?", "What's up?", "Hey, how are you doing?"),
        ("Tell me how you are.", "How are you feeling today?"),
    ),
    "talk_thanks": (
        ("Thanks", "Thank you", "Thank you!", "Thanks a lot!", "Thanks!", "Thank you very much.", "Great, thanks!",
         "Many thanks!", "Thank you so much!", "Thanks for your help.", "Perfect, thank you.", "Good, thanks.",
         "That helps, thank you.", "Thanks, that was helpful.", "Very good, thank you!"),
        ("Thanks, thank you!", "Thank you for the answer."),
    ),
    "talk_bye": (
        ("Bye", "Goodbye", "Bye!", "See you", "Goodbye!", "See you later.", "Bye bye", "Good night",
         "See you tomorrow!", "Good night!", "I have to go, bye.", "Until next time.", "That is all, goodbye.",
         "Bye for now!", "Farewell"),
        ("Goodbye, bye!", "Bye, see you soon."),
    ),
    "talk_can": (
        ("What can you do?", "How can you help me?", "What do you know?", "Help", "What can I ask you?",
         "What are you able to do?", "What can you help with?", "What questions can you answer?", "Can you help me?",
         "I need help.", "How do you work?", "What should I ask?", "What are you good at?", "Help me, please."),
        ("Tell me what you can do.", "What kind of questions may I ask?"),
    ),
}

# fmt: on
# Around a question; most questions come plain.
BEFORE = ("", "", "", "", "", "", "Please: ", "Quick question: ", "Hey, ", "Tell me, ")
AFTER = ("", "", "", "", "", "", "", " Thanks!", " Please answer briefly.", " Just the answer.")
SYSTEMS = (
    "You are a helpful assistant.",
    "Answer briefly.",
    "You are tiny, a small language model.",
    "Give only the answer.",
)
