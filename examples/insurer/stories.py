"""What people tell, per line and peril, and the words that fill the gaps.

Each peril has two lists. `told` is in the customer's own voice, `noted` in the short hand
of a clerk or broker. A story begins in lower case where it may follow "On 14 March 2026 ",
is in the past tense, and mentions no date, no sum of money and no document, so that those
can be said (or left out) elsewhere in the note. The last of each list is for held-out
notes only: a specialist has to understand a story, not to remember it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stories:
    """The ways in which one peril is told."""

    told: tuple[str, ...]
    noted: tuple[str, ...]


SLOTS: dict[str, tuple[str, ...]] = {
    "car": (
        "Golf",
        "Corsa",
        "Octavia",
        "Focus",
        "Tiguan",
        "Multivan",
        "Touran",
        "Duster",
        "Caddy",
        "Ibiza",
        "Volvo",
        "Mini",
        "Passat",
        "Fabia",
        "Audi",
        "BMW",
    ),
    "road": ("A1", "A7", "A23", "A24", "A25", "B5", "B75", "B431", "ring road", "motorway"),
    "street": (
        "Lindenallee",
        "Marktstrasse",
        "Hafenweg",
        "Schulweg",
        "Kirchgasse",
        "Osterstrasse",
        "Bahnhofstrasse",
        "Elbchaussee",
        "Birkenweg",
        "Deichstrasse",
    ),
    "spot": (
        "station",
        "swimming pool",
        "bakery",
        "office",
        "school",
        "library",
        "gym",
        "supermarket",
        "town hall",
        "harbour",
    ),
    "room": ("kitchen", "bathroom", "living room", "bedroom", "hallway", "study", "guest room"),
    "goods": (
        "sofa",
        "carpet",
        "books",
        "wardrobe",
        "armchairs",
        "record collection",
        "desk",
        "mattress",
        "bookcase",
        "curtains",
    ),
    "loot": (
        "jewellery",
        "two watches",
        "the laptops",
        "a camera",
        "silver cutlery",
        "a coin collection",
        "the tablet",
        "cash and rings",
        "my grandmother's necklace",
    ),
    "device": (
        "TV",
        "router",
        "fridge",
        "computer",
        "stereo",
        "dishwasher",
        "games console",
        "freezer",
        "coffee machine",
    ),
    "bike": (
        "mountain bike",
        "city bike",
        "e-bike",
        "racing bike",
        "cargo bike",
        "gravel bike",
        "folding bike",
        "trekking bike",
    ),
    "person": (
        "neighbour",
        "colleague",
        "sister-in-law",
        "flatmate",
        "friend",
        "aunt",
        "tennis partner",
        "cousin",
        "piano teacher",
    ),
    "thing": (
        "laptop",
        "glasses",
        "phone",
        "tablet",
        "camera",
        "vase",
        "violin",
        "wristwatch",
        "hearing aid",
        "coat",
    ),
    "animal": (
        "dog Bruno",
        "cat Momo",
        "beagle Emma",
        "tomcat Felix",
        "dachshund Kurt",
        "terrier Lotte",
        "retriever Balu",
        "cat Minka",
        "spaniel Kalle",
        "poodle Fanny",
    ),
    "city": (
        "Lisbon",
        "Rome",
        "Palma",
        "Athens",
        "Vienna",
        "Oslo",
        "Antalya",
        "Bangkok",
        "Nice",
        "Dublin",
        "Tenerife",
        "Boston",
        "Crete",
    ),
    "kin": ("wife", "husband", "son", "daughter", "mother", "father", "partner"),
    "joint": ("wrist", "ankle", "hip", "collarbone", "elbow", "knee"),
    "time": ("at night", "in the morning", "in the evening", "around noon", "after work"),
}

STORIES: dict[tuple[str, str], Stories] = {
    ("motor", "crash"): Stories(
        (
            "I braked too late on the {road} and ran into the car ahead of me",
            "another driver took my right of way at the {spot} and hit my {car}",
            "I scraped along a concrete pillar in the {spot} car park with the {car}",
            "somebody reversed into my parked {car} in {street} and drove off",
            "my {car} slid off the wet road into a ditch near the {spot}",
            "a van changed lanes on the {road} without looking and pushed me into the barrier",
        ),
        (
            "rear-end collision on the {road}, front of {car} pushed in",
            "{car} hit a deer on the {road}, bonnet and headlamp broken",
            "insured misjudged the gateway in {street}, wing of {car} torn",
            "cyclist rode into the side of the {car} at the {spot}, door dented",
            "{car} touched a lorry while merging onto the {road}",
        ),
    ),
    ("motor", "theft"): Stories(
        (
            "my {car} was gone when I came back to {street}",
            "someone drove off with our {car} {time}, it stood locked in front of the house",
            "thieves took my {car} from the car park by the {spot}",
            "I found nothing but an empty space where I had parked the {car}",
            "my {car} disappeared from the underground garage in {street} and was not towed",
        ),
        (
            "{car} stolen from {street}, not found again",
            "vehicle vanished from driveway {time}, keyless entry presumably hacked",
            "{car} taken from dealer's yard near the {spot}, whereabouts unknown",
            "whole car stolen outside the {spot}, insured has walked home",
        ),
    ),
    ("motor", "glass"): Stories(
        (
            "a pebble flew up on the {road} and left a crack across the windscreen of my {car}",
            "the windscreen of our {car} got a star-shaped chip from gravel behind a lorry",
            "a football from the schoolyard smashed the side window of my {car}",
            "the rear window of my {car} burst into crumbs, nobody knows why",
            "something hit the panoramic roof of the {car} on the {road} and the pane splintered",
        ),
        (
            "stone chip, windscreen {car}, crack growing",
            "rear window of {car} shattered by lawnmower stone in {street}",
            "headlamp glass and windscreen chipped on the {road}, {car}",
            "side pane of {car} broken by a ball near the {spot}, nothing taken",
        ),
    ),
    ("motor", "hail"): Stories(
        (
            "ice balls the size of walnuts dented the roof and bonnet of my {car}",
            "our {car} stood outside the {spot} when the hail came, now it looks like a golf ball",
            "we were caught by hailstones on the {road} and the {car} has dozens of little dents",
            "a hailstorm hammered my {car} in {street}, roof and boot are full of dimples",
            "it hailed so hard {time} that the paint and bodywork of the {car} got pitted",
        ),
        (
            "hail dents on roof + bonnet, {car}, parked in {street}",
            "{car} caught in hailstorm at the {spot}, all upper panels dimpled",
            "hailstones on the {road}, bodywork of {car} dented",
            "{car} without garage, hail {time}, bonnet and both wings",
        ),
    ),
    ("motor", "marten"): Stories(
        (
            "my {car} would not start, a marten had chewed the ignition leads",
            "the garage found bite marks on the coolant hose of my {car}",
            "some little animal nested under the bonnet of our {car} and gnawed through the cables",
            "the engine light came on and the mechanic pulled out cables nibbled by a marten",
            "a marten tore up the insulation in the engine bay of the {car}, there is fur all over",
        ),
        (
            "marten bite, cables and hose, {car} parked in {street}",
            "{car}: wiring gnawed through {time}, paw prints on engine cover",
            "rodent or marten damage under the bonnet of the {car}",
            "{car} stalled on the {road}, workshop says hoses were bitten by a marten",
        ),
    ),
    ("contents", "burglary"): Stories(
        (
            "strangers forced our patio door and took {loot}",
            "I came home and found the drawers emptied, {loot} gone and the lock drilled out",
            "someone climbed through the {room} window of our flat and stole {loot}",
            "our flat in {street} was broken into {time} and {loot} disappeared",
            "burglars levered open the front door while we were out and left with {loot}",
        ),
        (
            "break-in at flat in {street}, window levered, {loot} missing",
            "burglars came through the balcony {time}, took {loot}",
            "door lock of home picked, {room} ransacked, {loot} stolen",
            "intruders in the house {time}, {loot} taken, door frame split",
        ),
    ),
    ("contents", "fire"): Stories(
        (
            "a candle set the {goods} in our {room} alight",
            "the toaster caught fire, flames and soot ruined our {goods}",
            "a phone charger smouldered {time} and burned the {goods} in my {room}",
            "a pan of oil flared up and charred the {goods} and much of our household",
            "sparks from the stove jumped onto the {goods} and ate big holes",
        ),
        (
            "household goods burned, {goods} in {room} a total loss, cause candle",
            "battery of e-scooter caught fire in the {room}, {goods} charred",
            "small blaze in rented flat, {street}, tenant's {goods} burned and sooty",
            "tea light tipped over, {goods} of insured scorched",
        ),
    ),
    ("contents", "water"): Stories(
        (
            "the washing machine hose came off and soaked our {goods}",
            "water from the flat above dripped onto my {goods} in the {room}",
            "my aquarium leaked {time} and drenched the {goods}",
            "the dishwasher overflowed and our {goods} stood in water",
            "the upstairs tenant's bath ran over and my {goods} got soaked",
        ),
        (
            "washing machine leaked, {goods} in {room} soaked, insured rents the flat",
            "water through ceiling from flat above, {goods} ruined",
            "dishwasher hose burst, tap water over {goods}, movable things only",
            "{goods} wet and swollen after neighbour's boiler leaked into the flat",
        ),
    ),
    ("contents", "bike"): Stories(
        (
            "somebody cut the lock and rode away on my {bike} outside the {spot}",
            "my {bike} was stolen from the rack at the {spot}",
            "my {bike} was gone from the yard in {street}, only the cut chain was left",
            "I had locked my {bike} to a lamp post by the {spot} and it vanished",
            "thieves took my {bike} off the car rack by the {spot}, lock and all",
        ),
        (
            "{bike} stolen at the {spot}, lock cut",
            "theft of locked {bike} from bicycle stand, {street}",
            "{bike} taken from courtyard {time}, chain sawn through",
            "insured left {bike} chained up at the {spot}, bicycle gone",
        ),
    ),
    ("contents", "surge"): Stories(
        (
            "lightning struck nearby and our {device} has been dead ever since",
            "there was a power spike {time} and my {device} gave up with a bang",
            "after a thunderbolt the {device} and the phone system would not switch on any more",
            "the mains voltage jumped when the power came back and fried my {device}",
            "a flash, a pop, and the {device} in the {room} was burnt out by overvoltage",
        ),
        (
            "overvoltage after lightning, {device} dead",
            "power surge in {street} {time}, {device} and modem defective",
            "{device} destroyed by voltage peak during thunderstorm",
            "lightning into overhead line, {device} no longer works",
        ),
    ),
    ("building", "storm"): Stories(
        (
            "the gale tore tiles off our roof in {street}",
            "a squall knocked our old birch onto the roof of the house",
            "the storm ripped the gutter and part of the roof edge off our house",
            "strong wind lifted the metal sheets on our flat roof {time}",
            "the wind pressed in the dormer window and blew slates off our house",
        ),
        (
            "storm, wind force 9, roof tiles of house in {street} gone",
            "tree fell on garage roof in the gale, owner-occupied house",
            "chimney cap and tiles blown down {time}, house near the {spot}",
            "hurricane gusts took off the ridge of the roof, {street}",
        ),
    ),
    ("building", "fire"): Stories(
        (
            "the roof timbers of our house caught fire while the roofers were welding",
            "a chimney fire burned through the wall of our house in {street}",
            "the fuse box burst into flames and the walls and ceiling of our house are black",
            "our carport caught fire and the flames got into the facade of the house",
            "a fire in the heating cellar of our house damaged walls, doors and the ceiling",
        ),
        (
            "house fire in {street}, attic and roof truss burned",
            "fire in owner's house, {room}: walls, windows, floor slab affected",
            "facade insulation burned after bins were set alight, {street}",
            "electrical fire {time}, staircase and ceiling of the house destroyed",
        ),
    ),
    ("building", "pipe"): Stories(
        (
            "a water pipe burst inside our {room} wall and the plaster came off",
            "the heating pipe under our floor cracked and the screed of the house is soaked",
            "water came out of the wall {time}, a pipe in the masonry had broken",
            "the supply pipe in our house corroded and split, the {room} ceiling has come down",
            "a leaking joint behind the tiles of our house wrecked the {room} wall",
        ),
        (
            "burst pipe in wall, {room}, plaster and screed wet, own house",
            "hot water pipe broken in floor of house, {street}",
            "mains pipe in cellar wall fractured {time}, masonry soaked",
            "owner tells of pipe break behind {room} tiles, wall opened",
        ),
    ),
    ("building", "flood"): Stories(
        (
            "the brook rose over its banks and filled our cellar up to the ceiling",
            "after a cloudburst the street water ran into our house by the cellar windows",
            "the river came over the dyke and our ground floor stood knee-deep in water",
            "heavy rain flooded {street} and the water pressed into our basement walls",
            "high water from the Elbe got into our house and the floors have warped",
        ),
        (
            "flooding after torrential rain, basement of house in {street} full",
            "river burst its banks {time}, ground floor under water",
            "surface water from the fields ran into the house, floors and doors swollen",
            "stream overflowed near the {spot}, cellar of house flooded",
        ),
    ),
    ("building", "damp"): Stories(
        (
            "we noticed that the cellar wall has slowly gone mouldy over the years",
            "I saw that damp has been creeping up our {room} wall for a long time",
            "we found black mould behind the cupboard, the outer wall has been moist for ages",
            "a builder told us that rising damp has crumbled the plaster of our house bit by bit",
            "I discovered salt stains, the ground moisture has been eating our basement for years",
        ),
        (
            "rising damp in cellar walls of house, slow process, no pipe involved",
            "mould in {room}, wall moist for years according to owner",
            "gradual moisture in outer wall, {street}, plaster crumbling",
            "owner noticed long-standing damp + mildew in {room}",
        ),
    ),
    ("liability", "injury"): Stories(
        (
            "I knocked over an old lady with my bicycle and she broke her {joint}",
            "my {person} slipped on the soapy steps I was scrubbing and hurt her {joint}",
            "our dog jumped up at a jogger, who fell and broke his {joint}",
            "I opened the gate without looking and a child was hit and injured",
            "a visitor tripped over my garden hose and tore a ligament in the {joint}",
        ),
        (
            "pedestrian fell over insured's ladder in {street}, broken {joint}",
            "insured on bike collided with walker near the {spot}, {joint} injured",
            "insured's dog bit a postman in the hand",
            "swimmer hit by insured jumping into the pool, {joint} fractured",
        ),
    ),
    ("liability", "damage"): Stories(
        (
            "I spilled coffee over my {person}'s {thing}",
            "I sat down on my {person}'s {thing} at a party and broke it",
            "my little boy threw a stone and hit the {thing} of our {person}",
            "I bumped into a stranger at the {spot} and the {thing} fell out of their hand",
            "our dog chewed up the {thing} of my {person}",
        ),
        (
            "insured dropped {thing} belonging to {person}",
            "child of insured broke {person}'s {thing} while playing",
            "insured knocked {thing} of a passer-by to the ground at the {spot}",
            "red wine over third party's {thing} at a dinner",
        ),
    ),
    ("liability", "keys"): Stories(
        (
            "I lost the master key to our office building and the locks must be changed",
            "the key of the {spot} fell into the canal, I had it from my employer",
            "I mislaid the bunch of keys that the sports club had lent me",
            "my work key is nowhere to be found and my boss has to replace the cylinders",
            "I left the entrance key of our block on the train, now all locks are being swapped",
        ),
        (
            "insured lost employer's key, {spot}, locks to be changed",
            "key to shared front door lost in {street}, landlord replaces cylinders",
            "club key gone, whole locking system affected",
            "insured (caretaker) lost the key ring of the {spot}",
        ),
    ),
    ("liability", "tenant"): Stories(
        (
            "I dropped a perfume bottle into the washbasin of my rented flat and it cracked",
            "I let the bath run over in our rented flat and the landlord's parquet swelled",
            "our cat scratched the doors of the flat that we rent in {street}",
            "I burned a patch into the worktop of the holiday flat we had rented",
            "I broke the glass door of my rented {room} with the vacuum cleaner",
        ),
        (
            "tenant damaged landlord's {room} floor, rented flat in {street}",
            "washbasin cracked in rented flat, landlord demands replacement",
            "insured let bath overflow in rented flat, parquet of landlord swollen",
            "hotel bathroom door broken by insured during stay",
        ),
    ),
    ("liability", "favour"): Stories(
        (
            "I helped my {person} move house and dropped her {thing} on the stairs",
            "as a favour I carried boxes for my {person} and let the {thing} fall",
            "while I was looking after my {person}'s flat for free I broke a {thing}",
            "I lent my {person} a hand with the furniture, no pay, and smashed a mirror",
            "I offered to repair my {person}'s {thing} as a friend and ruined it",
        ),
        (
            "insured helped {person} with moving, unpaid, {thing} dropped",
            "act of kindness: watered plants for {person}, flooded the floor",
            "neighbourly help, insured broke {person}'s {thing} while carrying it",
            "insured hung lamps for {person} free of charge, {thing} fell and broke",
        ),
    ),
    ("travel", "illness"): Stories(
        (
            "I fell ill during our holiday in {city} and had to go to hospital",
            "my {kin} broke a {joint} on our trip to {city} and was treated there",
            "our daughter got a high fever in {city}, the local doctor came to the hotel",
            "I had to see a dentist in {city} for an abscess while travelling",
            "I caught food poisoning on holiday in {city} and spent time in a clinic",
        ),
        (
            "insured taken ill in {city}, treated in local clinic",
            "{kin} of insured hurt {joint} on holiday in {city}, doctor on site",
            "appendicitis during trip to {city}, operated there",
            "ear infection while travelling in {city}, ambulance and pharmacy",
        ),
    ),
    ("travel", "cancel"): Stories(
        (
            "we had to call off our trip to {city} because my {kin} fell ill at home",
            "I cancelled my flight to {city} after breaking my {joint}, before we even left",
            "we could not set off for {city}, my {kin} died and we stayed for the funeral",
            "I lost my job and gave up the booked journey to {city}",
            "we had to withdraw from the {city} holiday as my {kin} needed an operation",
        ),
        (
            "trip to {city} cancelled before departure, {kin} in hospital",
            "insured unfit to travel, {city} booking cancelled, {joint} broken",
            "holiday in {city} not started, bereavement in family",
            "cancellation of tour to {city}, insured has flu, never left home",
        ),
    ),
    ("travel", "bags"): Stories(
        (
            "my suitcase never came off the belt in {city}",
            "my rucksack was snatched from me at the station in {city}",
            "our suitcase arrived in {city} crushed, with half the clothes gone",
            "someone stole our bags out of the hotel lobby in {city}",
            "the airline lost our luggage on the way to {city} and it stays lost",
        ),
        (
            "suitcase lost on flight to {city}, still untraced",
            "hand luggage stolen at airport in {city}",
            "two bags missing on arrival in {city}, insured without clothes",
            "trunk broken open during transport to {city}, contents gone",
        ),
    ),
    ("travel", "delay"): Stories(
        (
            "our plane to {city} left nine hours late and we had to take a hotel",
            "my train broke down and I missed the connection to {city}, so I stayed overnight",
            "we were stuck at the airport for half a day before the flight to {city} took off",
            "the ferry was seven hours behind time and we needed food and a room",
            "our return flight from {city} was put off until the next day",
        ),
        (
            "flight to {city} 8 hrs late, overnight stay and meals",
            "connection in {city} missed owing to late train, taxi needed",
            "insured stranded at airport, departure from {city} put off till next day",
            "departure to {city} postponed by half a day, hotel paid by insured",
        ),
    ),
    ("pet", "accident"): Stories(
        (
            "our {animal} was hit by a car in {street}",
            "our {animal} fell from the balcony and broke a leg",
            "our {animal} cut a paw on broken glass near the {spot} and needed stitches",
            "our {animal} was bitten by another dog at the {spot}",
            "our {animal} jumped over a fence and tore a ligament",
        ),
        (
            "{animal} run over in {street}, fracture operated",
            "{animal} fell down the stairs {time}, leg broken",
            "{animal} bitten in a fight near the {spot}, wound stitched",
            "{animal} impaled paw on a nail, surgery",
        ),
    ),
    ("pet", "illness"): Stories(
        (
            "our {animal} was diagnosed with diabetes",
            "our {animal} stopped eating and the clinic found a kidney infection",
            "our {animal} had a tumour on the belly that had to come out",
            "our {animal} got a bad ear infection and needed treatment",
            "our {animal} had cramps, the clinic says it is epilepsy",
        ),
        (
            "{animal}: heart disease, medication started",
            "{animal} treated for inflamed bladder",
            "{animal} with fever and lung infection, kept in clinic",
            "{animal}: thyroid disorder diagnosed, blood tests",
        ),
    ),
    ("pet", "poison"): Stories(
        (
            "our {animal} ate rat bait near the {spot}",
            "our {animal} swallowed a whole bar of dark chocolate and collapsed",
            "our {animal} licked antifreeze in the garage and had to have its stomach pumped",
            "our {animal} nibbled at a lily and was in a terrible state",
            "our {animal} picked up a poisoned sausage in the park behind {street}",
        ),
        (
            "{animal} ingested slug pellets, stomach pumped",
            "suspected poisoned bait in {street}, {animal} vomiting, antidote given",
            "{animal} ate grapes and chocolate, toxic reaction",
            "{animal} swallowed owner's heart pills, detox at clinic",
        ),
    ),
    ("pet", "teeth"): Stories(
        (
            "our {animal} had its tartar removed",
            "our {animal} needed two rotten teeth pulled",
            "our {animal} had a dental cleaning under anaesthetic",
            "our {animal} got a crown on a worn fang",
            "our {animal} had inflamed gums and three molars were taken out",
        ),
        (
            "{animal}: scaling and polishing of teeth",
            "{animal}, tooth extraction, two molars",
            "dental treatment for {animal}, tartar and gum pockets",
            "{animal}: loose fang pulled under anaesthetic",
        ),
    ),
}

PAPERS: dict[str, tuple[str, ...]] = {
    "photos": ("photos", "some photos", "pictures"),
    "quote": ("the quote", "a quote", "the repair quote"),
    "bill": ("the bill", "the final bill", "the invoice"),
    "police": ("the police report", "the report to the police", "the police record"),
    "fobs": ("both car keys", "the two car keys", "both keys of the car"),
    "list": ("a list of the items", "the list of items", "an itemised list"),
    "proof": ("the purchase receipt", "the shop receipt", "proof of purchase"),
    "frame": ("the frame number", "the bike's frame number"),
    "expert": ("the electrician's report", "the electrician's findings"),
    "brigade": ("the fire brigade report", "the report of the fire brigade"),
    "plumber": ("the plumber's report", "the plumber's findings"),
    "letter": ("the other side's letter", "the claimant's letter", "the letter with their claim"),
    "medic": ("the doctor's report", "the medical certificate", "the medical report"),
    "lease": ("the tenancy agreement", "the rental contract", "the lease"),
    "booking": ("the booking confirmation", "the booking", "the travel booking"),
    "carrier": ("the carrier's confirmation", "the carrier's report"),
    "vet": ("the vet's report", "the vet's findings"),
}

FEELINGS = {
    "large": Stories(
        (
            "It is a disaster.",
            "We have lost a fortune.",
            "I have never had such a huge loss.",
            "This is enormous for us.",
            "It ruins us.",
        ),
        ("Very heavy loss.", "Major case.", "Extremely costly.", "Huge damage.", "Severe."),
    ),
    "small": Stories(
        (
            "Only a trifle, I know.",
            "It is just a little thing.",
            "A minor matter, really.",
            "Not much, but still.",
            "I know it is peanuts.",
        ),
        ("Trifle.", "Minor matter.", "Very small damage.", "Petty case.", "Tiny loss."),
    ),
}
"""What people say about the size of a loss, which is not always so."""
